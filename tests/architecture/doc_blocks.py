"""The code blocks of the documentation, and how they are carried out. `CONTRIBUTING.md` describes the markers."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
)
FENCE = re.compile(r"^```(\w*)\s*$")
MARKER = re.compile(r"^<!-- test: (\w+)(?: (.*?))? -->$")
KINDS = frozenset({"file", "run", "background", "output", "check", "skip"})
PATIENCE = 60.0
"""Seconds that a block may take."""


@dataclass(frozen=True)
class Block:
    """A fenced block, where it stands, and what its marker says (`check` if it has none)."""

    page: str
    line: int
    language: str
    text: str
    kind: str = "check"
    argument: str = ""

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(page):
    """Return the blocks of a page in their order."""
    found, marker, start, language, lines = [], ("check", ""), 0, None, []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if language is not None:
            if line == "```":
                found.append(Block(page, start, language, "\n".join(lines) + "\n", *marker))
                marker, language, lines = ("check", ""), None, []
            else:
                lines.append(line)
        elif fence := FENCE.match(line):
            language, start = fence[1], number
        elif told := MARKER.match(line):
            assert told[1] in KINDS, f"{page}:{number}: there is no marker {told[1]!r}"
            marker = (told[1], told[2] or "")
        elif line.strip():
            assert marker == ("check", ""), f"{page}:{number}: a marker stands above something that is no block"
    assert language is None, f"{page}:{start}: the block does not end"
    return found


def write_files(page, folder):
    """Write the blocks of a page that are marked as files into a folder."""
    for block in blocks_of(page):
        if block.kind == "file":
            target = folder / block.argument
            assert target.resolve().is_relative_to(folder.resolve()), f"{block}: {block.argument} leaves the folder"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)


def walk_through(page, folder):
    """Carry out the executed blocks of a page in a folder, in order; return what went wrong, or an empty string."""
    folder.mkdir(parents=True)
    write_files(page, folder)
    environment = _environment(folder)
    background, output = None, ""
    try:
        for block in blocks_of(page):
            match block.kind:
                case "run":
                    status, output, errors = _carried_out(block, folder, environment)
                    wanted = int(block.argument.removeprefix("exit=")) if block.argument.startswith("exit=") else 0
                    if status != wanted:
                        return f"{block}: ended with {status} and not with {wanted}\n{output}\n{errors}"
                case "background":
                    if background is not None and (trouble := _joined(*background)):
                        return trouble
                    background = (block, _started(block, folder, environment))
                case "output":
                    pattern = ".*".join(map(re.escape, block.text.strip().split("...")))
                    if not re.fullmatch(pattern, output.strip(), re.DOTALL):
                        return f"{block}: what was printed is\n{output}"
        return _joined(*background) if background else ""
    finally:
        if background and background[1].poll() is None:
            _kill(background[1])


def _environment(folder):
    """Return an environment whose `shoal` runs inline, unless it is told what to run on."""
    bin_folder = folder.parent / f"{folder.name}-bin"
    bin_folder.mkdir()
    shim = bin_folder / "shoal"
    shim.write_text(
        '#!/bin/sh\n[ "$1" = run ] && case " $* " in *" --executor "*) ;; *) set -- "$@" --executor inline ;; esac\n'
        f'exec "{Path(sys.executable).parent}/shoal" "$@"\n'
    )
    shim.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SHOAL_", "PYTEST"))}
    path = f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "SHOAL_HOME": str(folder.parent / f"{folder.name}-home")}


def _started(block, folder, environment):
    command = (
        [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", block.text]
    )
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)


def _kill(process):
    """End a block with everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()


def _carried_out(block, folder, environment):
    until = time.monotonic() + PATIENCE
    while True:
        process = _started(block, folder, environment)
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            output, errors = _kill(process)
            return "a time-out", output, errors
        if process.returncode == 0 or block.argument != "eventually" or time.monotonic() > until:
            return process.returncode, output, errors
        time.sleep(0.2)


def _joined(block, process):
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"{block}: did not end"
    return "" if process.returncode == 0 else f"{block}: ended with {process.returncode}\n{output}\n{errors}"
