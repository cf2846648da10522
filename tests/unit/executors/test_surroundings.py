"""What a tool changes of its process is put back."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path

from shoal.executors.ray.worker import restore_path
from shoal.executors.surroundings import Surroundings, invalid_variable, set_variables


def test_everything_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    cwd, mask, level = Path.cwd(), os.umask(0o022), logging.getLogger().level
    os.umask(mask)
    before = Surroundings()
    stdout, handler = sys.stdout, signal.getsignal(signal.SIGUSR1)
    os.chdir(tmp_path)
    os.umask(0o077)
    set_variables({"NEW": "1", "KEPT": "2", "bad=": "x"})
    os.environ.pop("PATH")
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 60)
    logging.getLogger().setLevel(1)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 7)
    socket.setdefaulttimeout(0.01)
    sys.stdout = None
    before.restore()
    assert Path.cwd() == cwd
    assert os.umask(mask) == mask
    assert "NEW" not in os.environ
    assert os.environ["KEPT"] == "1"
    assert "PATH" in os.environ
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert logging.getLogger().level == level
    assert sys.stdout is stdout
    assert sys.getrecursionlimit() == limit
    assert socket.getdefaulttimeout() is None


def test_invalid_variables_are_named():
    assert invalid_variable({"A": "b"}) is None
    assert invalid_variable({"A": "b\0"}) == "A"
    assert invalid_variable({"": "b"}) == ""


def test_the_path_is_put_back_but_for_the_modules_of_the_run(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/a", "/tmp/shoal-modules-0/old", "/b"])
    before = list(sys.path)
    sys.path[:] = ["/evil", "/a", "/tmp/shoal-modules-0/new"]
    restore_path(before)
    assert [entry for entry in sys.path if "modules" not in entry] == ["/a", "/b"]
    assert "/tmp/shoal-modules-0/new" in sys.path
    assert "/tmp/shoal-modules-0/old" not in sys.path
    kept = list(sys.path)
    restore_path(kept)
    assert sys.path == kept
