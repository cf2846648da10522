"""Whatever is done to a journal in a file, by two owners and over two connections, the plain reading in memory agrees."""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from shoal.errors import ShoalError
from shoal.model.ids import AttemptId, Digest, OwnerId, RunId, StepPath
from shoal.model.run import (
    AttemptChanged,
    AttemptRecord,
    CancelCommand,
    CancelRecorded,
    ChildCreated,
    InboxHandled,
    ItemCounts,
    Noted,
    Progress,
    ResumeCommand,
    RunBatch,
    RunChanged,
    RunEnded,
    RunStatus,
    ScopeOpened,
    ScopeRecord,
    SignalCommand,
    StepChanged,
    StepProgressed,
    StepStatus,
    SuspectsChanged,
    ToolsLocked,
)
from shoal.model.values import Arguments, Value
from shoal.ports import ClaimQuery, RunQuery
from shoal.stores.memory import MemoryRunStore
from shoal.stores.sqlite.store import SqliteRunStore
from shoal.testing.records import AT, json_value, new_run, step, workflow
from shoal.testing.store_records import LOCK
from shoal.testing.store_suite import SettableClock

PATHS = ["a", "b#2", "a/1", "loop", "loop[0]", "loop[1]", "loop[10]", "a/1[0]"]
FINGERPRINTS = ["here", "there"]

times = st.integers(0, 10**9).map(lambda n: AT + timedelta(microseconds=n))
paths = st.sampled_from(PATHS).map(StepPath)
results = st.none() | st.dictionaries(
    st.sampled_from(["x", "y"]),
    st.one_of(
        st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2), max_leaves=3).map(
            json_value
        ),
        st.sampled_from("0123").map(lambda d: Value("pickle", 9, digest=Digest(d * 64), type_name="t")),
    ),
    max_size=2,
)
steps = st.builds(
    step,
    st.sampled_from(PATHS),
    st.sampled_from(StepStatus),
    attempts=st.integers(0, 3),
    result=results,
    started_at=st.none() | times,
    wake_at=st.none() | times,
    lost=st.integers(0, 1),
    items=st.none() | st.builds(ItemCounts, st.integers(0, 9)),
    skip_reason=st.sampled_from([None, "condition", "not_reached"]),
)
changes = st.one_of(
    st.builds(StepChanged, steps, times),
    st.builds(StepChanged, steps, times),
    st.builds(
        AttemptChanged,
        st.builds(
            AttemptRecord,
            paths,
            st.integers(1, 2),
            st.just(AttemptId("x")),
            times,
            st.none() | times,
            st.sampled_from([None, "succeeded", "oom"]),
        ),
    ),
    st.builds(StepProgressed, paths, st.builds(Progress, st.floats(0, 1))),
    st.builds(RunChanged, st.sampled_from([RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING]), times, st.booleans()),
    st.builds(RunEnded, st.sampled_from([s for s in RunStatus if s.ended]), times, results),
    st.builds(CancelRecorded, times),
    st.builds(ToolsLocked, st.sampled_from([(), (LOCK,)]), times),
    st.builds(SuspectsChanged, st.dictionaries(paths, st.integers(1, 3), max_size=2)),
    st.builds(
        ScopeOpened, st.builds(ScopeRecord, paths, st.just(workflow()), st.just(Arguments({})), st.integers(1, 3)), times
    ),
    st.builds(Noted, st.just("note"), times, st.none() | paths),
    st.builds(InboxHandled, st.integers(1, 6)),
)
commands = st.one_of(
    st.just(CancelCommand()), st.builds(ResumeCommand, st.booleans()), st.builds(SignalCommand, st.text(max_size=3), st.none())
)
sides = st.integers(0, 1)


class StoreAgreesWithModel(RuleBasedStateMachine):
    """Each side has a face of both stores and an owner of its own; closing a side is the end of its process."""

    runs = Bundle("runs")

    @initialize()
    def open(self):
        self.folder = Path(tempfile.mkdtemp(prefix="shoal-model-"))
        self.clock = SettableClock()
        first = MemoryRunStore(now=self.clock.now)
        self.models = [first, first.peer()]
        self.files = [self.opened() for _ in range(2)]
        self.owners = [OwnerId("owner-0"), OwnerId("owner-1")]
        self.known = []
        self.lives = 2

    def opened(self):
        return SqliteRunStore(self.folder / "journal.db", now=self.clock.now)

    def teardown(self):
        if hasattr(self, "folder"):
            for store in self.files:
                store.close()
            shutil.rmtree(self.folder)

    def both(self, side, name, *arguments, **named):
        """Call both stores; they return the same, or raise the same error."""

        async def call(store):
            try:
                return await getattr(store, name)(*arguments, **named)
            except ShoalError as error:
                return type(error)

        expected = asyncio.run(call(self.models[side]))
        found = asyncio.run(call(self.files[side]))
        assert found == expected, name
        return found

    @rule(target=runs, side=sides, owned=st.booleans(), parked=st.booleans(), fingerprint=st.sampled_from(FINGERPRINTS))
    def create(self, side, owned, parked, fingerprint):
        new = new_run(parked=parked, fingerprint=fingerprint, of=f"flow-{len(self.known) % 2}")
        self.both(side, "create", new, owner=self.owners[side] if owned else None)
        self.known.append(new)
        return new

    @rule(side=sides, run=runs)
    def create_again(self, side, run):
        self.both(side, "create", run, owner=self.owners[side])

    @rule(
        target=runs,
        side=sides,
        parts=st.lists(st.tuples(runs, st.integers(0, 3), st.lists(changes, max_size=5), st.booleans()), max_size=3),
    )
    def commit(self, side, parts):
        batches, children = [], []
        for run, epoch, made, child in parts:
            created = [ChildCreated(new_run(parent=run), AT)] if child else []
            children += [change.run for change in created]
            batches.append(RunBatch(run.id, run.root_id, epoch, (*made, *created)))
            if child:
                batches.append(RunBatch(children[-1].id, run.root_id, epoch, (RunChanged(RunStatus.RUNNING, AT),)))
        self.both(side, "commit", batches)
        self.known += children
        return multiple(*children)

    @rule(side=sides, run=runs, changes=st.lists(changes, min_size=1, max_size=6))
    def commit_under_the_present_epoch(self, side, run, changes):
        held = self.models[0]._leases.get(run.root_id)
        self.both(side, "commit", [RunBatch(run.id, run.root_id, held.epoch if held else 1, tuple(changes))])

    @rule(side=sides, fingerprint=st.sampled_from(FINGERPRINTS), limit=st.integers(1, 3))
    def claim_orphans(self, side, fingerprint, limit):
        self.both(side, "claim", self.owners[side], ClaimQuery(fingerprint=fingerprint, limit=limit))

    @rule(side=sides, runs=st.lists(runs, max_size=2))
    def claim_explicitly(self, side, runs):
        self.both(side, "claim", self.owners[side], ClaimQuery(tuple(run.id for run in runs)))

    @rule(side=sides, who=sides, run=runs, park=st.booleans())
    def release(self, side, who, run, park):
        self.both(side, "release", self.owners[who], [run.id, RunId("none")], park=park)

    @rule(side=sides, who=sides)
    def renew(self, side, who):
        self.models[side].renew(self.owners[who])
        self.files[side].renew(self.owners[who])

    @rule(seconds=st.sampled_from([1, 5, 9.999999, 10, 11]))
    def time_passes(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))

    @rule(side=sides)
    def process_ends_and_another_begins(self, side):
        self.models[side].close()
        self.files[side].close()
        self.models[side] = self.models[1 - side].peer()
        self.files[side] = self.opened()
        self.owners[side] = OwnerId(f"owner-{self.lives}")
        self.lives += 1

    @rule(side=sides, run=runs, command=commands)
    def post(self, side, run, command):
        self.both(side, "post", run.id, command)

    @rule(side=sides, run=consumes(runs))
    def delete(self, side, run):
        self.both(side, "delete", run.id)

    @rule(side=sides, older=st.none() | times, keep=st.none() | st.integers(0, 2))
    def what_could_be_pruned(self, side, older, keep):
        self.both(side, "prunable", older_than=older, keep=keep)

    @rule(side=sides, run=runs, limit=st.integers(1, 3), children=st.booleans(), status=st.sampled_from([None, *RunStatus]))
    def list_runs(self, side, run, limit, children, status):
        statuses = (status,) if status else ()
        self.both(side, "runs", RunQuery(statuses=statuses, before=run.id, limit=limit, children=children))
        self.both(side, "runs", RunQuery(workflow_id=run.spec.workflow.id, limit=limit, children=children))

    @rule(side=sides, run=runs, path=paths)
    def look_closely(self, side, run, path):
        self.both(side, "step", run.id, path)
        self.both(side, "steps", run.id, items=False)
        self.both(side, "attempts", run.id, path)
        self.both(side, "spec", run.id)
        self.both(side, "events", run.id, after=2, limit=3)

        async def items(store):
            return [entry async for entry in store.item_results(run.id, path)]

        assert asyncio.run(items(self.files[side])) == asyncio.run(items(self.models[side]))

    @invariant()
    def everything_agrees(self):
        if not hasattr(self, "folder"):
            return
        self.both(0, "runs", RunQuery(children=True, limit=1000))
        self.both(1, "requests")
        self.both(0, "referenced_blobs")
        self.both(1, "oldest_lease")
        self.both(0, "inbox", [new.id for new in self.known])
        for new in self.known:
            self.both(1, "snapshot", new.id)
            self.both(0, "steps", new.id)
            self.both(1, "attempts", new.id)
            self.both(0, "events", new.id)


TestStoreAgreesWithModel = StoreAgreesWithModel.TestCase
TestStoreAgreesWithModel.settings = settings(max_examples=25, stateful_step_count=30)
