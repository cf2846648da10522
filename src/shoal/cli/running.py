"""The commands that begin a run or take one up, and wait for it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.api import connect
from shoal.cli.loop import Interrupts, carry_out
from shoal.cli.terminal import emit, emit_json, note, plain
from shoal.errors import InvalidInputError
from shoal.model.ids import RUN_ID, new_run_id
from shoal.model.values import Json
from shoal.model.workflow import Workflow

if TYPE_CHECKING:
    from shoal.cli.api import Begin
    from shoal.client import Client, RunHandle

RunArgument = Annotated[str, typer.Argument(metavar="ID", help="A run id, as `shoal runs` lists them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class Executor(StrEnum):
    """What carries the attempts."""

    RAY = "ray"
    INLINE = "inline"


def run(
    workflow: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="A workflow file, or the id of a workflow in ./workflows or an agent.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", metavar="NAME=VALUE", help="An input; JSON unless it is declared a string. Repeatable."),
    ] = None,
    inputs_file: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="Inputs as JSON or YAML; - is stdin. -i wins over it.")
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", metavar="ID", help="The run's id: a second start with it goes on with the same run."),
    ] = None,
    as_json: JsonOption = False,
    detach: Annotated[bool, typer.Option("--detach", help="Hand the run to the daemon, print its id and return.")] = False,
    executor: Annotated[
        Executor | None, typer.Option("--executor", help="inline: without Ray, in threads of this process.")
    ] = None,
) -> int:
    """Run a workflow and wait for it.

    Prints a line `name: value` for each output on stdout; progress goes to stderr. Ctrl-C stops the run in order and says how
    to resume it; nothing that was recorded runs again.

    Examples:
        shoal run answer.yaml -i question="six by nine"
        shoal run report -i 'paths=["src","tests"]' --json | jq .outputs
        shoal run nightly.yaml --run-id nightly-2026-11-23     (safe to repeat)
        shoal run long.yaml --detach && shoal runs
    """
    from shoal.cli.inputs import read_inputs
    from shoal.language.finding import find_workflow

    if run_id is not None and not RUN_ID.match(run_id):
        raise InvalidInputError(
            f"{run_id!r} cannot be a run id", hint="letters, digits, '.', '_' and '-', at most 128, a letter or digit first"
        )
    definition = find_workflow(workflow)
    values = read_inputs(definition, inputs or (), inputs_file)
    # The id is made here, so that an interrupted start can still say what to resume.
    chosen = run_id or new_run_id()
    choice = executor.value if executor else None
    if detach:
        return carry_out(lambda interrupts: _detach(interrupts, definition, values, chosen, choice, as_json=as_json))

    async def begin(client: Client) -> RunHandle:
        return await client.start(definition, values, run_id=chosen, executor=choice)

    return _follow(begin, run_id=chosen, as_json=as_json)


async def _detach(
    interrupts: Interrupts,
    definition: Workflow,
    values: dict[str, Json],
    run_id: str,
    executor: str | None,
    *,
    as_json: bool,
) -> int:
    interrupts.advice = f"`shoal show {run_id}` says whether the run was recorded."
    async with connect() as client:
        handle = await client.start(
            definition, values, run_id=run_id, executor="inline" if executor == "inline" else None, detach=True
        )
    for remark in handle.remarks:
        note(plain(remark))
    if as_json:
        emit_json({"run_id": handle.id, "workflow": definition.id, "detached": True})
    else:
        emit(handle.id)
    return 0


def resume(
    run_id: RunArgument,
    accept_tool_change: Annotated[
        bool, typer.Option("--accept-tool-change", help="Go on though a tool of the base environment is another one now.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Continue a resumable, failed or canceled run, and wait for it.

    It keeps its id, and what succeeded does not run again. A run that somebody drives is followed; one that has succeeded is
    refused (exit 4).

    Example:
        shoal resume 01jd9x2m4k
    """

    async def begin(client: Client) -> RunHandle:
        return await client.resume(run_id, accept_tool_change=accept_tool_change)

    return _follow(begin, run_id=run_id, as_json=as_json)


def retry(run_id: RunArgument, as_json: JsonOption = False) -> int:
    """Start a run anew from what it is pinned to, and wait for it.

    Definition, inputs and tools are those of the old run. The new run's id is printed on stderr at once. `shoal resume`
    instead keeps what succeeded.

    Example:
        shoal retry 01jd9x2m4k
    """

    async def begin(client: Client) -> RunHandle:
        return await client.retry(run_id)

    return _follow(begin, run_id=None, as_json=as_json, print_id=True)


def fork(
    run_id: RunArgument,
    from_step: Annotated[str, typer.Option("--from", metavar="STEP", help="The step from which on everything runs anew.")],
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", metavar="NAME=VALUE", help="An input to change; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Start a new run that begins with what another has recorded, and wait for it.

    What was recorded before STEP is taken over; STEP and all that comes after it run anew, under the definition and the tools
    of the old run, which stays as it is. The new run's id is printed on stderr at once.

    Examples:
        shoal fork 01jd9x2m4k --from summarize
        shoal fork 01jd9x2m4k --from summarize -i style=short
    """
    from shoal.language.inputs import parse_assignment

    async def begin(client: Client) -> RunHandle:
        definition = await client.workflow(run_id)
        changed = dict(parse_assignment(definition, text) for text in inputs or ())
        return await client.fork(run_id, from_step, inputs=changed)

    return _follow(begin, run_id=None, as_json=as_json, print_id=True)


def _follow(begin: Begin, *, run_id: str | None, as_json: bool, print_id: bool = False) -> int:
    from shoal.cli import follow

    async def work(interrupts: Interrupts) -> int:
        return await follow.follow(begin, interrupts, run_id=run_id, as_json=as_json, print_id=print_id)

    return carry_out(work)
