"""The order of steps: who waits for whom, and whether every reference has something to refer to."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoal.language._problems import Mark, Problems, suggest
from shoal.language._steps import Draft
from shoal.language._templates import Use
from shoal.model.ids import StepName
from shoal.model.workflow import Reference, RunWorkflow, Sleep, Step, Workflow


@dataclass(slots=True)
class Names:
    """What references of one workflow may name.

    Attributes:
        steps: All drafts by name, `finally` steps included.
        last: Names of the `finally` steps.
        inputs: Names of the declared inputs.
    """

    steps: Mapping[str, Draft]
    last: frozenset[str]
    inputs: tuple[str, ...]
    problems: Problems

    def check(self, uses: Iterable[Use], *, loop: bool, main: bool) -> list[str]:
        """Report references to what there is not; return the steps that are referred to, in order.

        Args:
            uses: The references.
            loop: Whether `item` and `index` mean something here.
            main: Whether this is a step that runs before the `finally` steps.
        """
        named: dict[str, None] = {}
        for use in uses:
            match use.reference.root:
                case ("steps", name, *parts):
                    if self._step(use, name, parts, main=main):
                        named[name] = None
                case ("inputs", name) if name not in self.inputs:
                    hint = suggest(name, self.inputs) if self.inputs else "the workflow declares no inputs"
                    self.problems.add(use.mark, f"there is no input {name!r}", hint)
                case ("item" | "index" as root,) if not loop:
                    self.problems.add(use.mark, f"`{root}` has a meaning only in a step with `foreach`")
                case _:
                    pass
        return list(named)

    def _step(self, use: Use, name: str, parts: list[str], *, main: bool) -> bool:
        draft = self.steps.get(name)
        if draft is None:
            self.problems.add(use.mark, f"there is no step {name!r}", suggest(name, self.steps) or _spaces(name))
            return False
        if main and name in self.last:
            self.problems.add(use.mark, f"{name!r} is a `finally` step; it runs after this one")
            return False
        if parts[0] == "outputs" and len(parts) > 1:
            known = known_outputs(draft.step)
            if known is not None and parts[1] not in known:
                hint = suggest(parts[1], known) if known else None
                self.problems.add(use.mark, f"step {name!r} has no output {parts[1]!r}", hint or _spaces(parts[1]))
        return True


def _spaces(name: str) -> str | None:
    return "a subtraction needs spaces: a - b" if "-" in name else None


def known_outputs(step: Step) -> tuple[str, ...] | None:
    """Return the names of a step's outputs; None if they are known only when it has run."""
    if isinstance(step.action, Sleep):
        return ()
    if step.outputs:
        return step.outputs
    return outputs_of(step.action.workflow) if isinstance(step.action, RunWorkflow) else None


def outputs_of(workflow: Workflow) -> tuple[str, ...] | None:
    """Return the names of a workflow's outputs; None if they are known only when it has run."""
    if workflow.outputs is not None:
        return tuple(name for name, _ in workflow.outputs)
    return known_outputs(workflow.steps[-1]) if workflow.steps else ()


def order(drafts: list[Draft], names: Names, *, last: bool) -> tuple[Step, ...]:
    """Return steps with their needs; unknown names and cycles are reported.

    Args:
        drafts: The steps in their order, or the `finally` steps in theirs.
        names: All names of the workflow.
        last: Whether these are the `finally` steps; what they need of other steps has ended anyway.
    """
    own = {draft.step.name for draft in drafts}
    steps: list[Step] = []
    previous: str | None = None
    for draft in drafts:
        needs: dict[str, None] = {}
        if draft.told is None and previous is not None:
            needs[previous] = None
        for name, mark in draft.told or []:
            if name not in names.steps:
                names.problems.add(mark, f"there is no step {name!r}", suggest(name, names.steps))
            elif not last and name in names.last:
                names.problems.add(mark, f"{name!r} is a `finally` step; it runs after this one")
            else:
                needs[name] = None
        for name in names.check(draft.uses.found, loop=draft.step.foreach is not None, main=not last):
            needs[name] = None
        kept = tuple(StepName(name) for name in needs if name in own)
        steps.append(dataclasses.replace(draft.step, needs=kept))
        previous = draft.step.name
    _check_cycles(steps, names)
    return tuple(steps)


def _check_cycles(steps: list[Step], names: Names) -> None:
    waiting = {step.name: len(step.needs) for step in steps}
    followers: dict[StepName, list[StepName]] = {step.name: [] for step in steps}
    for step in steps:
        for need in step.needs:
            followers[need].append(step.name)
    ready = deque(name for name, count in waiting.items() if not count)
    while ready:
        name = ready.popleft()
        del waiting[name]
        for follower in followers[name]:
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    if not waiting:
        return
    needs = {step.name: step.needs for step in steps}
    name = next(iter(waiting))
    path: list[StepName] = []
    while name not in path:
        path.append(name)
        name = next(need for need in needs[name] if need in waiting)
    cycle = [*path[path.index(name) :], name]
    start = names.steps[cycle[0]]
    if len(cycle) == 2:  # noqa: PLR2004 - one step, twice
        names.problems.add(start.mark, f"step {cycle[0]!r} waits for itself")
        return
    hint = "without `needs` a step also waits for the one before it"
    names.problems.add(start.mark, f"steps wait for each other: {' -> '.join(cycle)}", hint)


def reference_of_last(step: Step, name: str) -> Reference:
    """Return the reference that an output without a value stands for."""
    return Reference(("steps", step.name, "outputs", name), (), f"steps.{step.name}.outputs.{name}")


def check_whole(mark: Mark, problems: Problems, steps: int) -> None:
    """Report a workflow that has grown beyond bounds by the sub-workflows in it."""
    if steps > MAX_STEPS:
        problems.add(mark, f"the workflow and its sub-workflows have more than {MAX_STEPS:,} steps")


MAX_STEPS = 20_000
"""Steps of a workflow, those of its sub-workflows included, each counted where it is used."""
