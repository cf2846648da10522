"""The environments of other systems, built by uv from pinned requirements. Owns `.work/peers`."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from uv import find_uv_bin

from benchmarks.place import WORK, MeasurementError, environment, run

SCRIPTS: Final = Path(__file__).parent
REQUIREMENTS: Final = SCRIPTS / "requirements"
FOLDER: Final = WORK / "peers"


def build(name: str, tell: Callable[[str], None]) -> Path:
    """Return the Python of a peer's environment, built if it does not stand there with the same requirements.

    Raises:
        MeasurementError: It could not be built.
    """
    pinned = REQUIREMENTS / f"{name}.txt"
    folder = FOLDER / name
    mark, wanted = folder / "requirements.sha256", hashlib.sha256(pinned.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    tell(f"  building the environment of {name}")
    shutil.rmtree(folder, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    uv, variables = find_uv_bin(), environment(VIRTUAL_ENV=str(folder))
    run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], variables)
    run([uv, "pip", "sync", "--quiet", "--require-hashes", str(pinned)], variables)
    mark.write_text(wanted)
    return python


def restate_server(tell: Callable[[str], None]) -> Path:
    """Return Restate's server, installed by npm if it is not there.

    Raises:
        MeasurementError: There is no npm, or it could not install it.
    """
    folder = FOLDER / "restate-server"
    if (found := _server(folder)) is None:
        tell("  installing Restate's server")
        npm = shutil.which("npm")
        if npm is None:
            raise MeasurementError("Restate's server is installed by npm, which is not there")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPTS / "package.json", folder / "package.json")
        run(
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(folder)], environment(), cwd=folder
        )
        found = _server(folder)
    if found is None:
        raise MeasurementError("npm installed no server for this platform")
    return found


def _server(folder: Path) -> Path | None:
    return next(iter(sorted((folder / "node_modules" / "@restatedev").glob("restate-server-*/bin/restate-server"))), None)
