"""From a decision to dispatch to a call that an executor carries: tool, environment, secrets, variables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shoal.engine.effects import CANCEL_GRACE, Dispatch
from shoal.model.attempts import AttemptCall
from shoal.model.encoding import fill
from shoal.model.policies import Isolation, Resources
from shoal.model.run import Noted, ToolsLocked
from shoal.model.tools import BuiltEnvironment, EnvironmentLock, ToolLock, ToolOptions, ToolRequest, task_lock
from shoal.model.values import Hole, Json, SecretText, Value
from shoal.model.workflow import CallTool
from shoal.ports import EnvironmentProvider, RunStore, SecretProvider, StepExecutor, ToolResolver
from shoal.runtime.driven import Driven
from shoal.runtime.preparation import check_policy, read_secrets, request_of, secrets_in
from shoal.runtime.values import BlobValues, text_of

_NO_OPTIONS: Final = ToolOptions()

_WITHOUT_OPTIONS: Final = ("builtin", "task")
"""Tools without Ray options of their own; those of a task are its step's policies."""

REUSE_WITHIN: Final = 1.0
"""Seconds within which an environment that stands is found; after that it is told that one is being built."""


@dataclass(slots=True)
class Dispatcher:
    """Makes calls. What is pinned and built already costs no wait.

    Attributes:
        host_tools: Built-ins that reach the host.
        ring: Wakes the orchestrator for changes that were left with a run.
        options: The Ray options of tools, read when their environment was first used.
        built: Environments that stand, by the digest of their lock.
    """

    store: RunStore
    executor: StepExecutor
    resolver: ToolResolver
    environments: EnvironmentProvider
    secrets: SecretProvider
    values: BlobValues
    host_tools: frozenset[str]
    ring: Callable[[], None]
    options: dict[ToolLock, ToolOptions] = field(default_factory=dict["ToolLock", "ToolOptions"])
    built: dict[str, BuiltEnvironment] = field(default_factory=dict["str", "BuiltEnvironment"])
    reading: dict[ToolLock, asyncio.Task[None]] = field(default_factory=dict["ToolLock", "asyncio.Task[None]"])
    building: dict[str, asyncio.Task[BuiltEnvironment]] = field(default_factory=dict["str", "asyncio.Task[BuiltEnvironment]"])

    def call_now(self, driven: Driven, dispatch: Dispatch) -> AttemptCall | None:
        """Return the call if nothing has to be resolved or built first, else None.

        Raises:
            ShoalError: It cannot be made; the attempt fails with that.
        """
        request = _request(driven, dispatch)
        # A task is pinned by its reference: the journal has it already, and there is nothing to resolve.
        lock = task_lock(request, accept_change=driven.root.accept_tool_change) or driven.root.locks.get(request)
        if lock is None:
            return None
        if lock.load not in _WITHOUT_OPTIONS and lock not in self.options:
            return None
        environment = lock.environment
        if environment is None:
            return self._call(driven, dispatch, lock, None)
        built = self.built.get(environment.digest)
        return self._call(driven, dispatch, lock, built) if built is not None else None

    async def call(self, driven: Driven, dispatch: Dispatch) -> AttemptCall:
        """Return the call, once its tool is pinned and its environment stands.

        Raises:
            ShoalError: It cannot be made; the attempt fails with that.
        """
        request = _request(driven, dispatch)
        root = driven.root
        lock = root.locks.get(request)
        if lock is None:
            check_policy([request], driven.spec.policy, self.host_tools)
            lock = (await self.resolver.resolve([request]))[request]
            root.locks[request] = lock
            root.pending.append(ToolsLocked(tuple(root.locks.values()), self.store.now()))
            self.ring()
            # Pinned before its first attempt: a crash in between must not pin another version.
            while root.pending and not root.left.is_set():  # noqa: ASYNC110 - rare, and over with the next turn
                await asyncio.sleep(0.001)
        environment = lock.environment
        built = await self.build(driven, lock, environment) if environment is not None else None
        if lock.load not in _WITHOUT_OPTIONS and lock not in self.options:
            await self._read_options(driven, lock, built)
        return self._call(driven, dispatch, lock, built)

    async def _read_options(self, driven: Driven, lock: ToolLock, built: BuiltEnvironment | None) -> None:
        """Read a tool's own Ray options when its environment is first used, once however many attempts wait for them."""
        task = self.reading.get(lock)
        if task is None:
            task = self.reading[lock] = asyncio.ensure_future(self._read(driven, lock, built))
        try:
            await asyncio.shield(task)
        finally:
            if task.done():
                self.reading.pop(lock, None)

    async def _read(self, driven: Driven, lock: ToolLock, built: BuiltEnvironment | None) -> None:
        options = self.options[lock] = await self.executor.options(lock, built)
        if options.ignored:
            data: dict[str, Json] = {"tool": lock.request.reference.text, "options": ", ".join(options.ignored)}
            driven.pending.append(Noted("tool.options_ignored", self.store.now(), data=data))
            self.ring()

    async def build(self, driven: Driven, tool: ToolLock, lock: EnvironmentLock) -> BuiltEnvironment:
        """Return an environment, built once however many attempts want it."""
        if (built := self.built.get(lock.digest)) is not None:
            return built
        task = self.building.get(lock.digest)
        if task is None:
            task = self.building[lock.digest] = asyncio.ensure_future(self._build(driven, tool, lock))
        try:
            return await asyncio.shield(task)
        finally:
            if task.done():
                self.building.pop(lock.digest, None)

    async def _build(self, driven: Driven, tool: ToolLock, lock: EnvironmentLock) -> BuiltEnvironment:
        name = tool.request.reference.text
        building = asyncio.ensure_future(self.environments.build(lock))
        if not (await asyncio.wait((building,), timeout=REUSE_WITHIN))[0]:
            note = Noted("environment.building", self.store.now(), data={"tool": name, "digest": lock.digest})
            driven.pending.append(note)
            self.ring()
        built = await building
        self.built[lock.digest] = built
        data: dict[str, Json] = {
            "tool": name,
            "digest": lock.digest,
            "seconds": round(built.seconds, 3),
            "reused": built.reused,
        }
        driven.pending.append(Noted("environment.built", self.store.now(), data=data))
        self.ring()
        return built

    def _call(self, driven: Driven, dispatch: Dispatch, lock: ToolLock, built: BuiltEnvironment | None) -> AttemptCall:
        names = secrets_in(dispatch.arguments) | secrets_in(dispatch.env)
        secrets = read_secrets(names, driven.spec.policy, self.secrets) if names else {}
        step = dispatch.step
        options = self.options.get(lock, _NO_OPTIONS)
        if options != _NO_OPTIONS and driven.engine is not None:
            driven.engine.learn_options(lock.request.reference, options)

        def read(hole: Hole) -> Json:
            match hole:
                case SecretText(parts=parts):
                    return "".join(part if isinstance(part, str) else secrets[part.name] for part in parts)
                case Value():
                    return self.values.load(hole)

        env = {str(k): text_of(v) for k, v in fill(dispatch.env, read).items()} if step.env else {}
        return AttemptCall(
            attempt_id=dispatch.attempt_id,
            run_id=driven.id,
            path=dispatch.path,
            number=dispatch.number,
            tool=lock,
            arguments=dispatch.arguments,
            secrets=secrets,
            env=env,
            context=driven.spec.context,
            environment=built,
            outputs=step.outputs,
            isolation=_isolation(step.isolation, options),
            resources=_resources(step.resources, options),
            timeout=step.timeout,
            grace=CANCEL_GRACE,
        )


def _resources(own: Resources, tool: ToolOptions) -> Resources:
    """Return what an attempt takes: what its step says, else what its tool says."""
    if tool == _NO_OPTIONS:
        return own
    return Resources(
        cpus=own.cpus if own.cpus is not None else tool.num_cpus,
        gpus=own.gpus if own.gpus is not None else tool.num_gpus,
        memory=own.memory if own.memory is not None else tool.memory,
        custom=own.custom or tool.resources,
    )


def _isolation(own: Isolation, tool: ToolOptions) -> Isolation:
    """Return where an attempt runs: a tool that starts Ray work of its own must not wait for it on a warm worker."""
    return Isolation.TASK if own is Isolation.POOL and tool.starts_ray_work else own


def _request(driven: Driven, dispatch: Dispatch) -> ToolRequest:
    action = dispatch.step.action
    assert isinstance(action, CallTool)  # noqa: S101 - the engine dispatches nothing else
    return request_of(dispatch.step, action, driven.spec.workflow.base_dir)
