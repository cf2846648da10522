"""A journal and a client in memory for the command line's tests: what the commands see, with nothing behind it."""

import asyncio
import sys
import time
import types
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from shoal.errors import NotFoundError
from shoal.model.attempts import Arguments
from shoal.model.encoding import encode
from shoal.model.events import Event
from shoal.model.ids import RunId, StepName, StepPath, WorkflowId
from shoal.model.run import ItemCounts, Progress, RunRecord, RunSpec, RunStatus, StepRecord, StepStatus
from shoal.model.tools import ToolReference
from shoal.model.workflow import CallTool, Constant, InputSpec, Reference, Step, Workflow

START = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
RUN = RunId("01jd9x2m4k6s8t0v2w4x")


def tool_step(name, *needs, **keys):
    reference = ToolReference(f"{name}-tool", "distribution", f"{name}-tool")
    return Step(StepName(name), CallTool(reference), needs=tuple(StepName(n) for n in needs), **keys)


def workflow(*steps, **keys):
    steps = steps or (
        tool_step("fetch", inputs=(("url", Constant("http://127.0.0.1/")),)),
        tool_step(
            "measure", "fetch", foreach=Reference(("steps", "fetch", "outputs", "files"), text="steps.fetch.outputs.files")
        ),
        tool_step("report", "measure"),
    )
    keys.setdefault("inputs", (InputSpec("question", {"type": "string"}, required=False, default="six by nine"),))
    return Workflow(WorkflowId(keys.pop("id", "weekly-report")), steps, **keys)


def step(name, status="succeeded", *, seconds=1.5, **keys):
    status = StepStatus(status)
    if status not in (StepStatus.PENDING, StepStatus.SKIPPED):
        keys.setdefault("started_at", START)
        keys.setdefault("attempts", 1)
    if status.ended and status is not StepStatus.SKIPPED:
        keys.setdefault("finished_at", START + timedelta(seconds=seconds))
    return StepRecord(StepPath(keys.pop("path", name)), StepName(name), status, **keys)


def run(status="succeeded", **keys):
    status = RunStatus(status)
    if status.ended:
        keys.setdefault("finished_at", START + timedelta(seconds=64))
    keys.setdefault("live", not status.ended)
    return RunRecord(
        keys.pop("id", RUN), WorkflowId("weekly-report"), keys.pop("root_id", RUN), status, START, started_at=START, **keys
    )


@dataclass(frozen=True, slots=True)
class View:
    run: RunRecord
    workflow: Workflow
    steps: tuple = ()
    builds: dict = field(default_factory=dict)
    outputs: dict | None = None
    lock_file: object = None


def views():
    """A run from its start to its end."""
    flow = workflow()
    pending = (step("fetch", "running"), step("measure", "pending"), step("report", "pending"))
    half = (
        step("fetch"),
        step("measure", "running", items=ItemCounts(2000, 118, 2)),
        step("report", "pending"),
    )
    done = (step("fetch"), step("measure", items=ItemCounts(2000, 1998, 2)), step("report", seconds=2))
    return [
        View(run("running"), flow, pending, {"measure-tool": Progress(1, 4, "downloading")}),
        View(run("running"), flow, half),
        View(run(), flow, done, outputs={"report": "report.md", "lines": 1200, "top": {"a": [1, "ü"]}}),
    ]


@dataclass
class Handle:
    id: RunId
    views: list
    hang: bool = False
    error: Exception | None = None
    parked: bool = False
    remarks: tuple = ()

    async def park(self):
        self.parked = True
        sys.stderr.write("the run was parked\n")

    async def watch(self):
        for view in self.views:
            yield view
            await asyncio.sleep(0)
        if self.hang:
            await asyncio.sleep(60)
        if self.error is not None:
            raise self.error

    async def wait(self):
        return self.views[-1]


class Store:
    def __init__(self, world):
        self._world = world

    async def step(self, run_id, path):
        for found in (*self._world.views[-1].steps, *self._world.items):
            if found.path == path:
                return found
        raise NotFoundError(f"there is no step {path}")

    async def steps(self, run_id, *, items=True):
        return (*self._world.views[-1].steps, *(self._world.items if items else ()))

    async def attempts(self, run_id, path=None):
        return [a for a in self._world.attempts if path in (None, a.path)]

    async def spec(self, run_id):
        return RunSpec(self._world.views[-1].workflow, Arguments({"question": "six by nine"}))


class Blobs:
    def get(self, digest):
        raise NotFoundError(f"no blob {digest}")


@dataclass
class World:
    """What the fake client answers, and `calls`: what it was asked."""

    views: list = field(default_factory=views)
    attempts: list = field(default_factory=list)
    items: list = field(default_factory=list)
    runs: list = field(default_factory=lambda: [run(), run("failed", id=RunId("01jd9x2m4k6s8t0v2w4y"))])
    events: list = field(
        default_factory=lambda: [
            Event(RUN, 1, "run.running", START),
            Event(RUN, 2, "step.succeeded", START, StepPath("fetch"), {"attempts": 1}),
        ]
    )
    chunks: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    raises: dict = field(default_factory=dict)
    hang: bool = False
    late_error: Exception | None = None
    close_error: Exception | None = None
    hang_on_close: bool = False
    keep_id: bool = True

    def _called(self, name, *args, **keys):
        self.calls.append((name, args, keys))
        if name in self.raises:
            raise self.raises[name]

    def _handle(self, run_id):
        found = [replace(v, run=replace(v.run, id=run_id)) for v in self.views]
        return Handle(run_id, found, self.hang, self.late_error)

    @property
    def store(self):
        return Store(self)

    @property
    def blobs(self):
        return Blobs()

    async def start(self, flow, inputs=None, *, run_id=None, context=None, executor=None, detach=False):
        self._called("start", flow.id, inputs, run_id=run_id, executor=executor, detach=detach)
        return self._handle(RUN if self.keep_id else run_id)

    async def resume(self, run_id, *, accept_tool_change=False):
        self._called("resume", run_id, accept_tool_change=accept_tool_change)
        return self._handle(run_id)

    async def retry(self, run_id):
        self._called("retry", run_id)
        return self._handle(RUN)

    async def fork(self, run_id, from_step, *, inputs=None):
        self._called("fork", run_id, from_step, inputs=inputs)
        return self._handle(RUN)

    async def cancel(self, run_id):
        self._called("cancel", run_id)

    async def signal(self, run_id, name, payload=None):
        self._called("signal", run_id, name, payload)

    async def delete(self, run_id):
        self._called("delete", run_id)

    async def list_runs(self, query=None):
        self._called("runs", query)
        return [r for r in self.runs if not query.statuses or r.status in query.statuses]

    async def show(self, run_id):
        self._called("show", run_id)
        return self.views[-1]

    async def workflow(self, run_id):
        return self.views[-1].workflow

    async def logs(self, run_id, step=None, *, follow=False):
        self._called("logs", run_id, step, follow=follow)
        for chunk in self.chunks:
            yield chunk

    async def list_events(self, run_id, *, after=0, follow=False):
        self._called("events", run_id)
        for event in self.events:
            yield event

    async def prune(self, *, older_than, keep, dry_run=False):
        self._called("prune", older_than=older_than, keep=keep, dry_run=dry_run)
        return types.SimpleNamespace(runs=(RUN,), blobs=3, bytes=5 * 1024 * 1024)

    async def diagnose(self):
        for finding in self.findings:
            yield finding


class Client:
    """The world behind the names of the public API."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world, {"runs": "list_runs", "events": "list_events"}.get(name, name))


def connect_to(world):
    """Return what stands in for `shoal.client.connect`."""

    @asynccontextmanager
    async def connect(**settings):
        world._called("connect")
        try:
            yield Client(world)
        finally:
            world.calls.append(("closed", (), {}))
            if world.hang_on_close:
                time.sleep(60)  # noqa: ASYNC251 - this is the point: a loop that does not answer
        if world.close_error is not None:
            raise world.close_error

    return connect


def json_value(value):
    return encode(value, lambda data: None)


ANSWER = """\
id: answer
inputs:
  - {name: question, type: string, default: "six by nine"}
  - {name: count, type: integer, default: 1}
steps:
  - name: answer
    tool: return_answer_tool@0.1.2
    inputs:
      - {name: answer, value: "{{inputs.question}}"}
outputs:
  - {name: answer, value: "{{steps.answer.outputs.result}}"}
"""
