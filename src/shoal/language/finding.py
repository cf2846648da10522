"""Workflows by file or by id.

Owns where ids are looked up: `./workflows`, then the `workflows` folders of installed agents; the first that has it wins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from shoal.errors import DefinitionError, NotFoundError
from shoal.language.loading import SUFFIXES, load_file
from shoal.model.ids import WORKFLOW_ID
from shoal.model.workflow import Workflow

AGENT_GROUP: Final = "agent.entrypoint"
"""Entry-point group under which an agent package names itself; its workflows lie in `workflows/` of its top package."""

_LOOKED_INTO: Final = 1_000_000


def workflow_folders() -> list[Path]:
    """Return the folders in which workflow ids are looked up, those that exist."""
    return [folder for folder in (Path("workflows"), *_agent_folders()) if folder.is_dir()]


def _agent_folders() -> Iterator[Path]:
    from importlib.metadata import entry_points

    for entry in entry_points(group=AGENT_GROUP):
        # The spec of a top-level package is found without running any of its code.
        spec = importlib.util.find_spec(entry.module.partition(".")[0])
        for location in (spec.submodule_search_locations or ()) if spec else ():
            yield Path(location) / "workflows"


def workflow_files(folders: Sequence[Path] | None = None) -> Iterator[Path]:
    """Yield the workflow files of folders (by default `workflow_folders()`), in a stable order."""
    for folder in workflow_folders() if folders is None else folders:
        yield from sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def is_file_name(text: str) -> bool:
    """Return whether an argument names a file: by its ending, a separator in it, or because there is such a file."""
    return text.endswith(SUFFIXES) or "/" in text or Path(text).is_file()


def find_workflow(workflow: str | Path) -> Workflow:
    """Return the workflow that a path or an id names.

    Raises:
        NotFoundError: There is no such file or id.
        DefinitionError: The definition is wrong.
    """
    text = str(workflow)
    folders = workflow_folders()
    if isinstance(workflow, Path) or is_file_name(text):
        path = Path(workflow)
        if not path.is_file():
            raise NotFoundError(f"there is no file {text}", hint="give the path of a workflow file, or a workflow's id")
        return load_file(path, workflows=folders)
    if WORKFLOW_ID.match(text):
        for path in workflow_files(folders):
            found = _named(path, text, folders)
            if found is not None:
                return found
    raise NotFoundError(
        f"there is no workflow {text!r} in ./workflows or in an installed agent", hint="or give the path of its file"
    )


def _named(path: Path, workflow_id: str, folders: Sequence[Path]) -> Workflow | None:
    """Return the workflow of a file if it has that id; a broken file is an error only if its name is the id."""
    if path.stem != workflow_id and not _mentions(path, workflow_id):
        return None
    try:
        workflow = load_file(path, workflows=folders)
    except DefinitionError:
        if path.stem == workflow_id:
            raise
        return None
    return workflow if workflow.id == workflow_id else None


def _mentions(path: Path, workflow_id: str) -> bool:
    try:
        with path.open("rb") as file:
            return workflow_id.encode() in file.read(_LOOKED_INTO)
    except OSError:
        return False
