"""An owner is alive as long as its process, and not a moment longer."""

import os
import signal
import subprocess
import sys

import pytest

from shoal.errors import ConflictError
from shoal.model.ids import OwnerId
from shoal.stores.sqlite.owners import OwnerLocks

ONE = OwnerId("one")
HOLD = """
import sys, pathlib, subprocess
from shoal.stores.sqlite.owners import OwnerLocks
locks = OwnerLocks(pathlib.Path(sys.argv[1]))
locks.register("one")
if len(sys.argv) > 2:
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "owners"


@pytest.fixture
def process(folder):
    started = []

    def start(*more):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        return child, child.stdout.readline().strip()

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_nobody_is_alive_before_anyone_registered(folder):
    locks = OwnerLocks(folder)
    assert not locks.alive(ONE)
    assert not locks.sweep()
    assert not folder.exists()


def test_an_owner_is_alive_to_all_until_it_closes(folder):
    mine, other = OwnerLocks(folder), OwnerLocks(folder)
    mine.register(ONE)
    mine.register(ONE)
    assert mine.alive(ONE)
    assert other.alive(ONE)
    with pytest.raises(ConflictError, match="alive elsewhere"):
        other.register(ONE)
    mine.close()
    mine.close()
    assert not other.alive(ONE)
    assert list(folder.iterdir()) == []
    other.register(ONE)
    assert mine.alive(ONE)
    other.close()


def test_a_killed_process_is_dead_at_once_and_its_file_goes(folder, process):
    child, _ = process()
    locks = OwnerLocks(folder)
    assert locks.alive(ONE)
    assert locks.sweep()
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [p.name for p in folder.iterdir()] == ["one.lock"]
    assert not locks.sweep()
    assert list(folder.iterdir()) == []


def test_a_child_that_outlives_its_parent_does_not_keep_it_alive(folder, process):
    child, pid = process("with a child")
    child.send_signal(signal.SIGKILL)
    child.wait()
    try:
        os.kill(int(pid), 0)
        assert not OwnerLocks(folder).alive(ONE)
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_a_fork_does_not_keep_its_parent_alive(folder):
    code = (
        "import os, pathlib, sys, time; from shoal.stores.sqlite.owners import OwnerLocks\n"
        "locks = OwnerLocks(pathlib.Path(sys.argv[1])); locks.register('one')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    os.close(1); os.close(2); time.sleep(60); os._exit(0)\n"
        "print(pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    try:
        assert not OwnerLocks(folder).alive(ONE)
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_looking_at_an_owner_from_two_sides_does_not_make_it_alive(folder, process):
    child, _ = process()
    child.kill()
    child.wait()
    import fcntl

    handle = os.open(folder / "one.lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_SH)  # another process in the middle of its look
    assert not OwnerLocks(folder).alive(ONE)
    os.close(handle)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a\n"])
def test_only_an_owner_id_becomes_a_file(folder, name):
    locks = OwnerLocks(folder)
    for look in (locks.register, locks.alive):
        with pytest.raises(ConflictError, match="owner id"):
            look(OwnerId(name))
