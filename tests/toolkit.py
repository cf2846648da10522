"""What the tests of tools and environments share: blobs in memory, a runner, calls, and an invoker that remembers."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

from shoal.errors import NotFoundError
from shoal.model.attempts import AttemptCall
from shoal.model.encoding import decode
from shoal.model.ids import AttemptId, Digest, RunId, StepPath
from shoal.model.tools import ToolLock, ToolReference, ToolRequest
from shoal.model.values import Arguments
from shoal.ports import AttemptControl
from shoal.tools.invoker import LocalToolInvoker


class DictBlobs:
    """A blob store in memory; complete, but for being durable."""

    def __init__(self):
        self.data = {}

    def put(self, data):
        digest = Digest(hashlib.sha256(data).hexdigest())
        self.data[digest] = data
        return digest

    def get(self, digest):
        try:
            return self.data[digest]
        except KeyError:
            raise NotFoundError(f"there is no blob {digest}") from None

    def path(self, digest):
        return None

    def sweep(self, referenced, older_than, *, dry_run=False):
        return (0, 0)


class HereRunner:
    """Runs builds in a thread of this process."""

    async def run_on_node(self, function, *args, node=None):
        return await asyncio.to_thread(function, *args)

    def here(self):
        return None


def request(text, kind="function", name=None, **more):
    version = more.pop("version", "")
    return ToolRequest(ToolReference(text, kind, name or text, version, more.pop("url", "")), **more)


def function_lock(target, **more):
    return ToolLock(request(target), "function", target, **more)


def call_of(target, inputs=None, **more):
    lock = target if isinstance(target, ToolLock) else function_lock(target)
    arguments = more.pop("arguments", None) or Arguments(dict(inputs or {}))
    more.setdefault("number", 1)
    if "timeout" in more:
        more["timeout"] = timedelta(seconds=more["timeout"])
    return AttemptCall(AttemptId("a" * 24), RunId("run-1"), StepPath("step"), tool=lock, arguments=arguments, **more)


class Invoking:
    """An invoker with what it told along the way."""

    def __init__(self, blobs):
        self.blobs = blobs
        self.invoker = LocalToolInvoker(blobs)
        self.progress = []
        self.canceled = False

    def __call__(self, target, inputs=None, **more):
        control = AttemptControl(self.progress.append, lambda: self.canceled)
        return self.invoker.invoke(call_of(target, inputs, **more), control)

    def outputs(self, outcome):
        assert outcome.kind == "succeeded", outcome
        return {k: decode(v, self.blobs.get, trusted=True) for k, v in outcome.outputs.items()}
