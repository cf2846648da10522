"""What Ctrl-C, SIGTERM and a closed pipe do to a command; in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_world import RUN

from shoal.cli.loop import STOP_WITHIN

HERE = Path(__file__).parent


def begun(behaviour, *args, env=None, **keys):
    return subprocess.Popen(
        [sys.executable, str(HERE / "signals_driver.py"), behaviour, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        **keys,
    )


def until_running(process):
    line = process.stderr.readline()
    while "step fetch running" not in line:
        assert line, "the command ended early"
        line = process.stderr.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_closes_the_client_and_says_how_to_resume(answer_file, number):
    process = begun("hangs", "run", answer_file)
    until_running(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert f"shoal resume {RUN}" in err
    assert "the run was parked" in err
    assert "the client was closed" in err
    assert "Traceback" not in err


def test_the_second_signal_ends_at_once(answer_file):
    process = begun("hangs-on-close", "run", answer_file)
    until_running(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # the first has to be taken before the second
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - before < 2
    process.communicate()


def test_a_stop_that_hangs_is_cut_off_in_time_and_still_says_how_to_resume(answer_file):
    process = begun("hangs-on-close", "run", answer_file)
    until_running(process)
    before = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert 1 <= time.monotonic() - before < 4  # the driver sets the limit to a second
    assert STOP_WITHIN < 5
    assert f"shoal resume {RUN}" in err


def test_a_reader_that_leaves_ends_the_logs_without_a_word():
    process = begun("talks", "logs", RUN, "fetch")
    assert process.stdout.read(5) == "line\n"
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    err = process.stderr.read()
    process.stderr.close()
    assert not {"Traceback", "BrokenPipeError"} & set(err.replace(":", " ").split())


def test_a_reader_that_leaves_does_not_change_the_status_of_a_run(answer_file):
    process = begun("talks", "run", answer_file, "--json")
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 0
    assert not {"Traceback", "BrokenPipeError"} & set(err.replace(":", " ").split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_escapes_and_no_error(answer_file, encoding):
    process = begun("ends", "run", answer_file, env={"PYTHONIOENCODING": encoding, "NO_COLOR": "1"})
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert ("\\xfc" in out) is (encoding == "ascii")
    assert "Error" not in err
    assert "\x1b" not in err
