"""What a run needs before its first dispatch: its tools pinned, its secrets there, its policy kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from shoal.engine.references import steps_with_tools
from shoal.errors import IndexUnavailableError, MissingSecretError, ToolResolutionError
from shoal.model.locks import LockFileUse
from shoal.model.policies import Isolation, RunPolicy
from shoal.model.run import Noted, RunSpec
from shoal.model.tools import ToolLock, ToolRequest, task_lock
from shoal.model.values import Arguments, SecretName, SecretText
from shoal.model.workflow import CallTool, Expression, ListOf, MapOf, Reference, Step, Template, Text, Workflow
from shoal.modules import is_of_the_host
from shoal.ports import SecretProvider, ToolResolver


def request_of(step: Step, action: CallTool, base_dir: str | None) -> ToolRequest:
    """Return what has to be resolved for a step."""
    return ToolRequest(action.reference, action.requirements, step.isolation is Isolation.PROCESS, base_dir)


def requests_of(workflow: Workflow) -> list[ToolRequest]:
    """Return what has to be resolved for a workflow and its sub-workflows, each once, in order."""
    found: dict[ToolRequest, None] = {}
    for flow, step in steps_with_tools(workflow):
        if isinstance(step.action, CallTool):
            found[request_of(step, step.action, flow.base_dir)] = None
    return list(found)


def check_policy(requests: Iterable[ToolRequest], policy: RunPolicy, host_tools: frozenset[str]) -> None:
    """Refuse what reaches the host where the policy does not allow it.

    That is some built-ins, and functions of the base environment that are no installed tool: `subprocess:run` is `shell` by
    another name.

    Raises:
        ToolResolutionError: Some are refused; the message has a line for each.
    """
    if policy.host_tools:
        return
    refused: list[str] = []
    for request in requests:
        reference = request.reference
        if reference.kind == "builtin" and reference.name in host_tools:
            refused.append(f"{request.label}: the policy of this run does not allow built-ins that reach the host")
        elif reference.kind == "function" and is_of_the_host(reference.name, request.base_dir):
            refused.append(
                f"{request.label}: the policy of this run does not allow functions of the standard library or of the base "
                "environment that are not installed as tools (entry-point group tool.entrypoint)"
            )
    if refused:
        raise ToolResolutionError("\n".join(refused))


def secrets_of(workflow: Workflow) -> set[str]:
    """Return the names of the secrets that a workflow and its sub-workflows name."""
    names: set[str] = set()
    for _, step in steps_with_tools(workflow):
        for _, template in (*step.inputs, *step.env):
            _collect(template, names)
    return names


def _collect(template: Template, names: set[str]) -> None:
    match template:
        case Reference(root=("secrets", name)):
            names.add(name)
        case Expression(references=parts) | Text(parts=parts) | ListOf(items=parts):
            for part in parts:
                _collect(part, names)
        case MapOf(entries=entries):
            for _, part in entries:
                _collect(part, names)
        case _:
            return


def read_secrets(names: Iterable[str], policy: RunPolicy, provider: SecretProvider) -> dict[str, str]:
    """Return secrets by name.

    Raises:
        MissingSecretError: Some are not provided, or not for this run; names them all.
    """
    found: dict[str, str] = {}
    missing: list[str] = []
    for name in sorted(names):
        allowed = policy.secrets is None or name in policy.secrets
        value = provider.get(name) if allowed else None
        if value is None:
            missing.append(name)
        else:
            found[name] = value
    if missing:
        variable = f"SHOAL_SECRET_{missing[0].upper().replace('-', '_')}"
        raise MissingSecretError(
            f"no secret {', '.join(repr(n) for n in missing)} is provided to this run",
            hint=f"set {variable} or write it to the file that SHOAL_SECRETS_FILE names; a daemon has the variables that "
            "it was started with",
        )
    return found


def secrets_in(arguments: Arguments) -> set[str]:
    """Return the names of the secrets in evaluated arguments."""
    texts = [hole for _, hole in arguments.holes if isinstance(hole, SecretText)]
    return {part.name for text in texts for part in text.parts if isinstance(part, SecretName)}


def check_run(spec: RunSpec, secrets: SecretProvider, host_tools: frozenset[str]) -> None:
    """Refuse a run whose policy does not allow what it does, or whose secrets are not there.

    Raises:
        ToolResolutionError: Its policy refuses a tool.
        MissingSecretError: Some secret is not there.
    """
    try:
        check_policy(requests_of(spec.workflow), spec.policy, host_tools)
    except ToolResolutionError as error:
        raise dataclasses.replace(error, message=name_steps(spec.workflow, error.message)) from error
    read_secrets(secrets_of(spec.workflow), spec.policy, secrets)


async def pin_tools(
    spec: RunSpec, pinned: Mapping[ToolRequest, ToolLock], resolver: ToolResolver
) -> dict[ToolRequest, ToolLock]:
    """Return what is pinned already, and every other tool that a run's workflow names, pinned now.

    Raises:
        ToolResolutionError: Some cannot be had.
        IndexUnavailableError: No index could be reached for some, and all others can be had.
    """
    requests = [r for r in requests_of(spec.workflow) if r not in pinned and task_lock(r) is None]
    if not requests:
        return dict(pinned)
    try:
        locks = await resolver.resolve(requests)
    except (ToolResolutionError, IndexUnavailableError) as error:
        raise dataclasses.replace(error, message=name_steps(spec.workflow, error.message)) from error
    return {**pinned, **{request: locks[request] for request in requests}}


def note_of(use: LockFileUse, now: datetime) -> Noted:
    """Return the event that tells of the lock file that a run was started beside."""
    return Noted("run.lock_file", now, data={"digest": use.digest, "remarks": list(use.remarks)})


def name_steps(workflow: Workflow, message: str) -> str:
    """Return a resolver's message, which has a line for each tool, with the steps that name it."""
    steps: dict[str, list[str]] = {}
    for flow, step in steps_with_tools(workflow):
        if isinstance(step.action, CallTool):
            steps.setdefault(request_of(step, step.action, flow.base_dir).label, []).append(step.name)
    lines: list[str] = []
    for line in message.splitlines():
        names = next((names for text, names in steps.items() if line.startswith(f"{text}: ")), None)
        lines.append(line if names is None else f"step {', '.join(names)}: {line}")
    return "\n".join(lines)


async def check_tools(locks: Sequence[ToolLock], resolver: ToolResolver, *, accept_change: bool) -> dict[ToolRequest, ToolLock]:
    """Return the pinned tools to use on a resume, by request.

    Raises:
        ToolChangedError: A tool of the base environment is not the one that was pinned.
    """
    return {lock.request: await resolver.check(lock, accept_change=accept_change) for lock in locks}
