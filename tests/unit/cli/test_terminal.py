"""Streams, glyphs and times."""

import io
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from shoal.cli.spans import bytes_text, duration_text, parse_age
from shoal.cli.terminal import ASCII, UNICODE, glyphs_for, one_line, plain
from shoal.errors import InvalidInputError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (-5, "0.0s"), (1.26, "1.3s"), (59.6, "1m00s"), (59, "59s"), (65, "1m05s"), (7200, "2h00m"), (90_000, "1d1h")],
)
def test_durations(seconds, text):
    assert duration_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("text", "hours"), [("1h", 1), ("30d", 720), ("1w2d", 216), ("1.5h", 1.5), ("90m", 1.5), ("3600s", 1)])
def test_ages(text, hours):
    assert parse_age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "1d;", "1 d", "１d"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_age(text)


def test_bytes():
    assert [bytes_text(n) for n in (0, 1023, 1536, 5 * 1024**3)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]


@pytest.mark.parametrize(("encoding", "glyphs"), [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), ("cp437", ASCII)])
def test_signs_fit_the_encoding(encoding, glyphs):
    assert glyphs_for(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is glyphs


def test_control_characters_are_taken_out():
    assert plain("a\x1b[2Jb\x1b]0;title\x07c\x00d\x9be\tf\ng\r") == "abcde\tf\ng"
    assert one_line("\n\n  first\x1b[31m \nsecond") == "first"
    assert one_line("") == ""


def test_a_tool_that_closes_the_descriptors_does_not_silence_the_command(tmp_path):
    (tmp_path / "closer.py").write_text("import os\ndef f():\n    os.close(1)\n    os.close(2)\n    return 1\n")
    (tmp_path / "w.yaml").write_text(
        "id: w\nsteps: [{name: a, tool: 'closer:f'}, {name: b, tool: 'platform:python_version'}]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "shoal", "run", "w.yaml", "--executor", "inline"],
        cwd=tmp_path,
        env={**os.environ, "SHOAL_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("result: 3.")
    assert "step b succeeded" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("s)")
