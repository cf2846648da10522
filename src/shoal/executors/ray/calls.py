"""Attempts on their way to a warm worker.

Owns the form. What the attempts of a step have in common (tool, environment, policies) is pickled once on this side and read
once on the other: it is most of a call, and a worker knows it from the attempt before.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from shoal.model.attempts import AttemptCall
from shoal.model.tools import ToolLock
from shoal.model.values import Arguments

_COMMON: Final = (
    "run_id", "tool", "context", "environment", "outputs", "isolation", "resources", "timeout", "grace",
)  # fmt: skip
_KEPT: Final = 256


class CallPacker:
    """The driver's side. Remembers what it has pickled of the last calls."""

    def __init__(self) -> None:
        """Start with nothing remembered."""
        self._packed: Final[dict[tuple[Any, ...], tuple[bytes, AttemptCall]]] = {}

    def pack(self, jobs: Sequence[AttemptCall | ToolLock]) -> bytes:
        """Return calls, and locks of tools, as bytes."""
        commons: dict[bytes, int] = {}
        items: list[Any] = []
        for job in jobs:
            if isinstance(job, ToolLock):
                items.append(job)
                continue
            place = commons.setdefault(self._common(job), len(commons))
            own = (job.attempt_id, job.path, job.number, job.arguments.tree, job.arguments.holes, job.secrets, job.env)
            items.append((place, own))
        return pickle.dumps((list(commons), items), protocol=5)

    def _common(self, call: AttemptCall) -> bytes:
        # By identity where comparing costs more than pickling; the call that is kept keeps its parts alive.
        named = (call.run_id, call.outputs, call.isolation, call.resources, call.timeout, call.grace)
        key = (id(call.tool), id(call.environment), id(call.context), *named)
        found = self._packed.get(key)
        if found is None:
            if len(self._packed) >= _KEPT:
                self._packed.clear()
            data = pickle.dumps({name: getattr(call, name) for name in _COMMON}, protocol=5)
            found = self._packed[key] = (data, call)
        return found[0]


def unpack_calls(data: bytes) -> list[AttemptCall | ToolLock]:
    """Return what `CallPacker.pack` was given; in a worker only."""
    found: tuple[list[bytes], list[ToolLock | tuple[int, tuple[Any, ...]]]] = pickle.loads(data)  # noqa: S301 - a worker
    parts = [_read(common) for common in found[0]]
    return [item if isinstance(item, ToolLock) else _call(parts[item[0]], item[1]) for item in found[1]]


def _call(common: Mapping[str, Any], own: tuple[Any, ...]) -> AttemptCall:
    attempt_id, path, number, tree, holes, secrets, env = own
    return AttemptCall(
        attempt_id=attempt_id,
        path=path,
        number=number,
        arguments=Arguments(tree, holes),
        secrets=secrets,
        env=env,
        **common,
    )


@lru_cache(maxsize=_KEPT)
def _read(common: bytes) -> Mapping[str, Any]:
    return pickle.loads(common)  # noqa: S301 - a worker; its executor made it
