"""Tools: how a workflow names them, and the exact thing that a run is pinned to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shoal.model.ids import Digest


@dataclass(frozen=True, slots=True)
class TaskCode:
    """The code of a Python task, exact enough to call it in another process and to notice that it has changed.

    Attributes:
        module: Name of its module.
        name: Qualified name in it.
        source: SHA-256 of its source text; empty: there is none to be had.
        blob: Its bytes, pickled by value; None: it is imported by its name.
        python: Minor version of the interpreter that it was taken from, such as `3.11`.
        pickler: Version of cloudpickle that wrote the bytes.
        folders: Where its program looked for modules beside those that are installed; last on the path of a worker.
    """

    module: str
    name: str
    source: str = ""
    blob: Digest | None = None
    python: str = ""
    pickler: str = ""
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolReference:
    """A tool as a workflow names it.

    Attributes:
        text: As written.
        kind: `distribution`: `name[@version]` from an index or find-links folder. `direct`: PEP 508 `name @ URL`.
            `function`: `package.module:function`. `builtin`: a name such as `shell`. `task`: a function of a Python program.
        name: Normalized distribution name, `module:function`, or the built-in's name.
        version: Exact version, for `distribution`; empty: any.
        url: For `direct`: `file:...` or `git+...` as written.
        code: For `task`: the function.
    """

    text: str
    kind: Literal["distribution", "direct", "function", "builtin", "task"]
    name: str
    version: str = ""
    url: str = ""
    code: TaskCode | None = None


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock.

    Attributes:
        name: Normalized name.
        version: Exact version.
        hashes: `sha256:...` of every file that may serve.
        source: Empty for an index or find-links; else the URL (and commit) that a wheel was built from.
        wheel: Digest of the kept wheel, for a package built from `file:` or `git+`.
        content: SHA-256 over what a `file:` reference named when the wheel was built from it.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    source: str = ""
    wheel: Digest | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """The exact set of packages in which a tool runs.

    Attributes:
        digest: SHA-256 over kind and packages; the part of the build key that is the same on every machine.
        kind: `overlay`: beside the base environment. `process`: holds nothing of the base.
        packages: Sorted by name; for an overlay without what the base provides.
        base: Name and version of what it relies on of the base's fixed packages, sorted; not part of the digest.
    """

    digest: Digest
    kind: Literal["overlay", "process"]
    packages: tuple[LockedPackage, ...]
    base: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """What has to be resolved for a step: the reference with all that changes where it runs.

    Attributes:
        reference: The tool.
        requirements: Further requirements (PEP 508).
        process: Whether the step asks for `isolation: process`.
        base_dir: Folder of the workflow file, for relative references and modules beside it; None: there is none.
    """

    reference: ToolReference
    requirements: tuple[str, ...] = ()
    process: bool = False
    base_dir: str | None = None

    @property
    def label(self) -> str:
        """Return how messages name it: no two requests of a workflow that may fail apart have the same."""
        more = f" with {', '.join(self.requirements)}" if self.requirements else ""
        return f"{self.reference.text}{more}{' (isolation: process)' if self.process else ''}"


@dataclass(frozen=True, slots=True)
class ToolLock:
    """A tool pinned exactly; a resume calls this and no other.

    Attributes:
        request: What it was resolved for.
        load: How it is found in its environment: `entry_point` (group `tool.entrypoint`), `function`, `builtin`, or `task`
            (by the code of its reference).
        target: Distribution name, `module:function` or built-in name.
        distribution: Name and version of the distribution it comes from, if known.
        record_hash: SHA-256 of that distribution's RECORD, for a tool taken from the base environment; of its source, for a
            task. None: whatever is there is called.
        environment: Its environment; None: the base environment.
        modules: Blob with the modules beside the workflow file (a zip), if the tool is one of them.
    """

    request: ToolRequest
    load: Literal["entry_point", "function", "builtin", "task"]
    target: str
    distribution: tuple[str, str] | None = None
    record_hash: str | None = None
    environment: EnvironmentLock | None = None
    modules: Digest | None = None


def task_lock(request: ToolRequest, *, accept_change: bool = False) -> ToolLock | None:
    """Return the lock of a task that needs nothing but the base environment: its reference says it all. None: it is none.

    Args:
        request: What is to be called.
        accept_change: Call what has the task's name, whatever its source is by now.
    """
    code = request.reference.code
    if code is None or request.requirements:
        return None
    return ToolLock(request, "task", request.reference.name, record_hash=None if accept_change else code.source or None)


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """The explicit Ray options of a tool that is a `@ray.remote` function; None: not set.

    Attributes:
        ignored: Names of options that mean nothing here.
        starts_ray_work: Whether the tool, `@ray.remote` or not, starts tasks or actors of its own.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: int | None = None
    resources: tuple[tuple[str, float], ...] = ()
    max_retries: int | None = None
    retry_exceptions: bool | tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()
    starts_ray_work: bool = False


@dataclass(frozen=True, slots=True)
class BuiltEnvironment:
    """An environment that stands on a node.

    Attributes:
        key: The build key.
        python: Absolute path of its interpreter on that node.
        seconds: Time the build took; 0 if it was there.
        reused: Whether it was there.
    """

    key: str
    python: str
    seconds: float
    reused: bool
