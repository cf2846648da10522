"""Files, texts and mappings to validated workflows.

Owns the finding of sub-workflows; each is loaded once and embedded where it is used, so that a run is pinned to it. Whatever
is wrong with a definition and with the files it names is told in one `DefinitionError`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shoal.errors import DefinitionError
from shoal.language import _document
from shoal.language._problems import Mark, Problems, suggest
from shoal.language._workflow import read_workflow
from shoal.model.ids import WORKFLOW_ID
from shoal.model.values import Json
from shoal.model.workflow import Workflow

SUFFIXES: Final = (".yaml", ".yml")
MAX_EMBEDDING: Final = 16
"""How deep sub-workflows may lie in each other."""
MAX_FILES: Final = 1_000
"""Files of `workflows` folders that are looked into for an id."""


def load_file(path: Path, *, workflows: Sequence[Path] = ()) -> Workflow:
    """Return the workflow of a file.

    Args:
        path: The file; problems name it as it is given here.
        workflows: Folders in which sub-workflows are looked up by id.

    Raises:
        DefinitionError: It is not a workflow; every problem is named, those of the files it names included.
    """
    loader = _Loader(tuple(workflows), root=path.absolute().parent)
    return loader.finish(loader.file(path))


def load_text(
    text: str, *, file: str = "<workflow>", base_dir: Path | str | None = None, workflows: Sequence[Path] = ()
) -> Workflow:
    """Return the workflow of a YAML text.

    Args:
        text: The text.
        file: What problems call it.
        base_dir: Folder that relative references are relative to; None: there are none.
        workflows: Folders in which sub-workflows are looked up by id.

    Raises:
        DefinitionError: It is not a workflow; every problem is named.
    """
    base = None if base_dir is None else Path(base_dir).absolute()
    loader = _Loader(tuple(workflows), root=base)
    return loader.finish(loader.text(text, file, base))


def load_mapping(data: Mapping[str, Json], *, file: str = "<continuation>") -> Workflow:
    """Return the workflow of a mapping, as a tool may answer with one.

    It is held to the same rules as a file, and may name no other workflow. Problems name the place in the mapping.

    Raises:
        DefinitionError: It is not a workflow; every problem is named.
    """
    loader = _Loader((), root=None)
    node = _document.from_data(dict(data), file, loader.problems)
    return loader.finish(None if node is None else loader.workflow(node, None))


@dataclass(slots=True)
class _Loader:
    """One loading: a workflow and those it embeds.

    Attributes:
        folders: Where ids are looked up.
        root: Folder that paths of sub-workflows may not leave; None: paths mean nothing.
        open: Files under way, outermost first, for cycles.
        done: What became of each file.
    """

    folders: tuple[Path, ...]
    root: Path | None
    problems: Problems = field(default_factory=Problems)
    open: list[Path] = field(default_factory=list[Path])
    done: dict[Path, Workflow | None] = field(default_factory=dict[Path, Workflow | None])
    index: dict[str, Path] | None = None

    def finish(self, workflow: Workflow | None) -> Workflow:
        """Return the workflow, or raise what is wrong with it."""
        self.problems.check()
        if workflow is None:
            raise DefinitionError("the definition holds no workflow")
        return workflow

    def file(self, path: Path) -> Workflow | None:
        """Return the workflow of a file."""
        resolved = path.resolve()
        if resolved in self.done:
            return self.done[resolved]
        self.open.append(resolved)
        try:
            self.done[resolved] = self.text(_document.read_text(path, str(path)), str(path), path.absolute().parent)
        except DefinitionError as error:
            self.problems.found.extend(error.problems)
            self.done[resolved] = None
        finally:
            self.open.pop()
        return self.done[resolved]

    def text(self, text: str, file: str, base: Path | None) -> Workflow | None:
        """Return the workflow of a text."""
        before = len(self.problems.found)
        node = _document.parse(text, file, self.problems)
        if node is None:
            if len(self.problems.found) == before:
                self.problems.add(Mark(file, 1, 1), "the file is empty", "a workflow has an id and steps")
            return None
        return self.workflow(node, base)

    def workflow(self, node: _document.Node, base: Path | None) -> Workflow | None:
        """Return the workflow of a document."""
        return read_workflow(node, None if base is None else str(base), functools.partial(self._find, base=base), self.problems)

    def _find(self, text: str, mark: Mark, *, base: Path | None) -> Workflow | None:
        by_path = text.endswith(SUFFIXES) or "/" in text or "\\" in text
        path = self._by_path(text, mark, base) if by_path else self._by_id(text, mark)
        if path is None:
            return None
        resolved = path.resolve()
        if resolved in self.open:
            names = [p.name for p in (*self.open[self.open.index(resolved) :], resolved)]
            self.problems.add(mark, f"workflows contain each other: {' -> '.join(names)}", "loops are continuations")
            return None
        if len(self.open) >= MAX_EMBEDDING:
            self.problems.add(mark, f"workflows lie in each other more than {MAX_EMBEDDING} deep")
            return None
        return self.file(path)

    def _by_path(self, text: str, mark: Mark, base: Path | None) -> Path | None:
        if base is None or self.root is None:
            self.problems.add(mark, f"a workflow cannot be named by path here: {text[:80]!r}", "write its steps out")
            return None
        path = base / text
        if text.startswith(("/", "~")) or not self._is_inside(path):
            self.problems.add(
                mark, f"{text[:80]!r} lies outside of {self.root}", "keep workflows that belong together in one folder"
            )
            return None
        if not path.is_file():
            near = suggest(path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [])
            self.problems.add(mark, f"there is no file {text[:80]!r} in {base}", near)
            return None
        return path

    def _is_inside(self, path: Path) -> bool:
        resolved = path.resolve()
        return any(resolved.is_relative_to(root.resolve()) for root in (self.root, *self.folders) if root is not None)

    def _by_id(self, text: str, mark: Mark) -> Path | None:
        if not WORKFLOW_ID.match(text):
            self.problems.add(mark, f"{text[:80]!r} is neither an id nor a path", "write ./file.yaml or an id")
            return None
        if self.index is None:
            self.index = index_folders(self.folders)
        path = self.index.get(text)
        if path is None:
            where = ", ".join(str(f) for f in self.folders)
            hint = suggest(text, self.index) or (f"looked in {where}" if where else "write ./file.yaml")
            self.problems.add(mark, f"there is no workflow {text!r}", hint)
        return path


def index_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the workflow files of folders by id; earlier folders win. Files that are no YAML or have no id are left out."""
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES]
    return index_files(files)


def index_files(files: Iterable[Path]) -> dict[str, Path]:
    """Return files by the id of their workflow, as `index_folders` does."""
    found: dict[str, Path] = {}
    for path in itertools.islice(files, MAX_FILES):
        try:
            node = _document.parse(_document.read_text(path, str(path)), str(path), Problems())
        except DefinitionError:
            continue
        entry = node.entries.get("id") if isinstance(node, _document.Mapping) else None
        if entry and isinstance(entry[1], _document.Scalar) and isinstance(entry[1].value, str):
            found.setdefault(entry[1].value, path)
    return found
