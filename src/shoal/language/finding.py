"""Workflows by file or by id.

Owns where ids are looked up: `./workflows`, then the `workflows` folders of installed agents; the first that has it wins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shoal.errors import NotFoundError
from shoal.language.loading import SUFFIXES, index_folders, load_file
from shoal.model.workflow import Workflow

AGENT_GROUP: Final = "agent.entrypoint"
"""Entry-point group under which an agent package names itself; its workflows lie in `workflows/` of its top package."""

_NAMED: Final = 10


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
    known = index_folders(folders)
    if text in known:
        return load_file(known[text], workflows=folders)
    names = ", ".join(sorted(known)[:_NAMED]) or "none"
    raise NotFoundError(
        f"there is no file and no workflow {text!r}",
        hint=f"workflows in ./workflows and in installed agents: {names}",
    )
