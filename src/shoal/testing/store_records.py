"""Promises of a store about what is recorded and read back; part of `store_suite`."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from shoal.errors import InternalError, NotFoundError, RunAlreadyExistsError, StepFailedError
from shoal.model.ids import AttemptId, Digest, OwnerId, RunId, StepPath, WorkflowId, new_run_id
from shoal.model.run import (
    AttemptChanged,
    AttemptRecord,
    CancelRecorded,
    ChildCreated,
    ItemCounts,
    Noted,
    Progress,
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
from shoal.model.tools import EnvironmentLock, LockedPackage, ToolLock, ToolReference, ToolRequest
from shoal.model.values import Arguments, Value
from shoal.ports import LEASE_TTL, ClaimQuery, RunQuery, RunStore
from shoal.testing.records import AT, batch, changed, in_loop, json_value, new_run, step, workflow

OWNER = OwnerId("owner-1")
LOCK = ToolLock(
    ToolRequest(ToolReference("maths:add", "function", "maths:add"), base_dir="/where"),
    "function",
    "maths:add",
    modules=Digest("a" * 64),
    environment=EnvironmentLock(
        Digest("e" * 64), "overlay", (LockedPackage("p", "1.0", ("sha256:00",), "git+x", Digest("b" * 64)),)
    ),
)


class CommitCases:
    """What `create` and `commit` record, and when they do not."""

    @in_loop
    async def test_a_created_run_is_pending_with_its_spec_and_its_first_event(self, store: RunStore) -> None:
        new = new_run()
        record, lease = await store.create(new)
        assert lease is None
        assert record == await store.run(new.id)
        assert (record.status, record.live, record.created_at) == (RunStatus.PENDING, False, store.now())
        assert (record.workflow_id, record.fingerprint, record.executor) == ("flow", "here", "ray")
        assert await store.spec(new.id) == new.spec
        (event,) = await store.events(new.id)
        assert (event.seq, event.name, event.at) == (1, "run.pending", store.now())

    @in_loop
    async def test_a_run_created_with_an_owner_is_live_under_its_lease(self, store: RunStore) -> None:
        new = new_run()
        record, lease = await store.create(new, owner=OWNER)
        assert lease is not None
        assert (lease.run_id, lease.owner, lease.epoch, lease.automatic) == (new.id, OWNER, 1, False)
        assert lease.expires_at == store.now() + LEASE_TTL
        assert record.live

    @in_loop
    async def test_a_run_created_with_locks_is_pinned_to_them(self, store: RunStore) -> None:
        new = dataclasses.replace(new_run(), locks=(LOCK,))
        assert (await store.create(new))[0].locks == (LOCK,)
        assert await store.referenced_blobs() == {"a" * 64, "b" * 64}
        assert (await store.create(new_run()))[0].locks is None

    @in_loop
    async def test_a_run_created_with_steps_has_them_and_one_event(self, store: RunStore) -> None:
        done = step("a", StepStatus.SUCCEEDED, result={"v": Value("json", 70_000, digest=Digest("c" * 64))})
        new = dataclasses.replace(new_run(), steps=(done,))
        await store.create(new)
        assert tuple(await store.steps(new.id)) == (done,)
        assert (await store.snapshot(new.id)).steps == (done,)
        assert await store.referenced_blobs() == {"c" * 64}
        assert [event.name for event in await store.events(new.id)] == ["run.pending"]

    @in_loop
    async def test_runs_created_at_once_are_each_recorded_and_of_one_id_one(self, store: RunStore) -> None:
        one, other = new_run(), new_run()
        asked = [store.create(one, owner=OWNER), store.create(other), store.create(one, owner=OWNER)]
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(third, RunAlreadyExistsError)
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        assert [(record.id, record.live) for record, _ in (first, second)] == [(one.id, True), (other.id, False)]
        assert (await store.run(one.id)).live
        assert len(await store.events(one.id)) == 1

    @in_loop
    async def test_an_id_that_is_taken_is_refused_and_nothing_changes(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new)
        with pytest.raises(RunAlreadyExistsError, match=new.id):
            await store.create(new_run(id=new.id, of="another"), owner=OWNER)
        assert (await store.run(new.id)).workflow_id == "flow"
        assert not (await store.run(new.id)).live
        assert len(await store.events(new.id)) == 1

    @in_loop
    async def test_a_child_is_created_by_its_parent_only(self, store: RunStore) -> None:
        new = new_run()
        child = new_run(parent=new)
        await store.create(new, owner=OWNER)
        with pytest.raises(InternalError, match=child.id):
            await store.create(child, owner=OWNER)
        with pytest.raises(NotFoundError):
            await store.run(child.id)

    @in_loop
    async def test_every_kind_of_change_is_there_afterwards(self, store: RunStore) -> None:
        new = new_run()
        child = new_run(parent=new)
        await store.create(new, owner=OWNER)
        later = AT + timedelta(seconds=3)
        attempt = AttemptRecord(StepPath("only"), 1, AttemptId("f00"), AT, node="here")
        scope = ScopeRecord(StepPath("only"), workflow("inner"), Arguments({"x": 1}), 1)
        kept = step("only", StepStatus.RUNNING, attempts=1, started_at=AT, spawned=1, items=ItemCounts(3, 1))
        left_out = await store.commit(
            [
                batch(
                    new,
                    RunChanged(RunStatus.RUNNING, AT),
                    ToolsLocked((LOCK,), AT),
                    changed("only", StepStatus.RUNNING, attempts=1, started_at=AT, spawned=1, items=ItemCounts(3, 1)),
                    AttemptChanged(attempt),
                    ScopeOpened(scope, AT),
                    ChildCreated(child, AT),
                    SuspectsChanged({StepPath("only"): 2}),
                    CancelRecorded(later),
                    Noted("environment.built", later, StepPath("only"), {"seconds": 0.5}),
                )
            ]
        )
        assert left_out == frozenset()
        found = await store.snapshot(new.id)
        assert (found.run.status, found.run.started_at, found.run.cancel_requested) == (RunStatus.RUNNING, AT, True)
        assert (found.run.locks, found.run.suspects) == ((LOCK,), {"only": 2})
        assert (found.steps, found.attempts, found.scopes) == ((kept,), (attempt,), (scope,))
        assert (await store.run(child.id)).parent == child.parent
        names = [event.name for event in await store.events(new.id)]
        assert names[1:6] == ["run.running", "run.locked", "step.running", "step.spawned", "step.child"]
        assert names[6:] == ["run.canceling", "environment.built"]

    @in_loop
    async def test_events_are_numbered_without_gaps_over_commits_and_batches(self, store: RunStore) -> None:
        one, two = new_run(), new_run()
        await store.create(one, owner=OWNER)
        await store.create(two, owner=OWNER)
        await store.commit([batch(one, changed("a"), changed("b")), batch(two, changed("a")), batch(one, changed("c"))])
        await store.commit([batch(one, changed("d"))])
        events = await store.events(one.id)
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
        assert [event.path for event in events] == [None, "a", "b", "c", "d"]
        assert [event.seq for event in await store.events(two.id)] == [1, 2]
        assert [event.seq for event in await store.events(one.id, after=2, limit=2)] == [3, 4]

    @in_loop
    async def test_a_batch_under_another_epoch_is_left_out_whole_and_the_others_are_recorded(self, store: RunStore) -> None:
        stale, good = new_run(), new_run()
        await store.create(stale, owner=OWNER)
        await store.create(good, owner=OWNER)
        changes = (changed("a"), RunEnded(RunStatus.SUCCEEDED, AT), CancelRecorded(AT))
        left_out = await store.commit([batch(stale, *changes, epoch=2), batch(good, *changes)])
        assert left_out == {stale.id}
        assert (await store.run(stale.id)).status is RunStatus.PENDING
        assert not await store.steps(stale.id)
        assert len(await store.events(stale.id)) == 1
        assert (await store.run(good.id)).status is RunStatus.SUCCEEDED

    @in_loop
    async def test_a_batch_of_no_run_under_no_lease_or_under_another_root_is_left_out(self, store: RunStore) -> None:
        free, held, unknown = new_run(), new_run(), new_run()
        await store.create(free)
        await store.create(held, owner=OWNER)
        wrong = batch(new_run(id=free.id, parent=held), changed("a"))
        batches = [batch(free, changed("a"), epoch=0), batch(unknown, changed("a")), wrong]
        assert await store.commit(batches) == {free.id, unknown.id}
        assert not await store.steps(free.id)
        also_held = new_run()
        await store.create(also_held, owner=OWNER)
        assert await store.commit([batch(new_run(id=also_held.id, parent=held), changed("a"))]) == {also_held.id}
        assert not await store.steps(also_held.id)

    @in_loop
    async def test_a_step_that_changes_keeps_its_place(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        await store.commit([batch(new, changed("b", StepStatus.RUNNING), changed("a", StepStatus.RUNNING))])
        await store.commit([batch(new, changed("c"), changed("a", attempts=2), changed("b"), changed("b", attempts=3))])
        assert await store.steps(new.id) == [step("b", attempts=3), step("a", attempts=2), step("c")]

    @in_loop
    async def test_progress_makes_no_event_and_goes_with_the_next_change_of_its_step(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        report = StepProgressed(StepPath("a"), Progress(1, 10, "first"))
        await store.commit([batch(new, changed("a", StepStatus.RUNNING), report)])
        assert (await store.step(new.id, StepPath("a"))).progress == Progress(1, 10, "first")
        await store.commit(
            [batch(new, StepProgressed(StepPath("a"), Progress(2)), StepProgressed(StepPath("no"), Progress(1)))]
        )
        assert (await store.step(new.id, StepPath("a"))).progress == Progress(2)
        assert len(await store.events(new.id)) == 2
        await store.commit([batch(new, report, changed("a"))])
        assert (await store.step(new.id, StepPath("a"))).progress is None
        assert len(await store.steps(new.id)) == 1

    @in_loop
    async def test_a_child_is_driven_under_the_lease_of_its_root_from_the_same_commit_on(self, store: RunStore) -> None:
        new = new_run()
        child = new_run(parent=new)
        grandchild = new_run(parent=child)
        await store.create(new, owner=OWNER)
        running = RunChanged(RunStatus.RUNNING, AT)
        batches = [batch(new, ChildCreated(child, AT)), batch(child, running, ChildCreated(grandchild, AT))]
        assert await store.commit([*batches, batch(grandchild, running)]) == frozenset()
        assert await store.commit([batch(grandchild, changed("a"))]) == frozenset()
        assert await store.commit([batch(grandchild, changed("b"), epoch=7)]) == {grandchild.id}
        record = await store.run(grandchild.id)
        assert (record.root_id, record.status, record.live) == (new.id, RunStatus.RUNNING, True)
        assert [event.name for event in await store.events(child.id)] == ["run.pending", "run.running", "step.child"]

    @in_loop
    async def test_a_child_whose_id_is_taken_keeps_the_whole_commit_from_being_recorded(self, store: RunStore) -> None:
        new, taken = new_run(), new_run()
        await store.create(new, owner=OWNER)
        await store.create(taken, owner=OWNER)
        with pytest.raises(RunAlreadyExistsError, match=taken.id):
            await store.commit([batch(taken, changed("a")), batch(new, ChildCreated(new_run(id=taken.id, parent=new), AT))])
        assert not await store.steps(taken.id)
        assert len(await store.events(new.id)) == 1
        assert await store.commit([batch(new, changed("a"))]) == frozenset()

    @in_loop
    async def test_an_end_is_recorded_and_a_reopening_clears_it(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        error = StepFailedError("it broke \ud800 ü", run_id=new.id, step="a", exception="ValueError")
        end = RunEnded(RunStatus.CANCELED, AT + timedelta(1), {"x": json_value([1, "ü"])}, error)
        await store.commit([batch(new, RunChanged(RunStatus.RUNNING, AT), CancelRecorded(AT), end)])
        record = await store.run(new.id)
        assert (record.status, record.finished_at, record.started_at) == (RunStatus.CANCELED, end.at, AT)
        assert record.outputs == end.outputs
        assert record.error is not None
        assert record.error.to_json() == error.to_json()
        assert await store.claim(OWNER, ClaimQuery((new.id,)))
        await store.commit([batch(new, RunChanged(RunStatus.RUNNING, AT + timedelta(2), reopened=True), epoch=2)])
        record = await store.run(new.id)
        assert (record.status, record.finished_at, record.outputs, record.error) == (RunStatus.RUNNING, None, None, None)
        assert (record.started_at, record.cancel_requested) == (AT + timedelta(2), False)

    @in_loop
    async def test_results_of_every_form_come_back_as_they_were(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        manifest = b'[{"d":"' + b"d" * 64 + b'","s":9,"c":"json","t":""}]'
        result = {
            "json": json_value({"a": [1, 2.5, None, True, "\u0000 ü \U0001f41f"], "": {}}),
            "pickle": Value("pickle", 3, data=b"\x80\x05.", type_name="x.Y"),
            "blob": Value("pickle", 1 << 40, digest=Digest("c" * 64), type_name="x.Z"),
            "manifest": Value("manifest", len(manifest), data=manifest, type_name="list"),
        }
        kept = step(
            "a#2", attempts=4, exceptions=1, lost=2, out_of_memory=1, result=result, scope=StepPath("top"), entry=2,
            started_at=AT, finished_at=AT + timedelta(microseconds=1), child_run_id=new_run_id(), delegate=StepPath("a/1"),
        )  # fmt: skip
        empty = step("b", StepStatus.SKIPPED, result={}, skip_reason="condition")
        waiting = step("c", StepStatus.WAITING, wake_at=AT, error=StepFailedError("x"))
        await store.commit([batch(new, *(StepChanged(s, AT) for s in (kept, empty, waiting)))])
        found = await store.steps(new.id)
        assert list(found[:2]) == [kept, empty]
        assert found[2].wake_at == AT
        assert isinstance(found[2].error, StepFailedError)


class ReadingCases:
    """What the reading methods return."""

    @in_loop
    async def test_a_snapshot_has_only_the_statuses_of_items_that_are_done_with(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        changes = [
            changed("loop", StepStatus.RUNNING, items=ItemCounts(4)),
            changed("loop[0]"),
            changed("loop[1]", StepStatus.RUNNING),
            changed("loop[3]", StepStatus.FAILED),
            changed("a/7[0]", StepStatus.SKIPPED),
            AttemptChanged(AttemptRecord(StepPath("loop[0]"), 1, AttemptId("x"), AT, AT, "succeeded")),
            AttemptChanged(AttemptRecord(StepPath("loop[1]"), 1, AttemptId("y"), AT)),
        ]
        await store.commit([batch(new, *changes)])
        entry = await store.post(new.id, SignalCommand("go", {"x": 1}))
        found = await store.snapshot(new.id)
        assert [s.path for s in found.steps] == ["loop", "loop[1]", "loop[3]"]
        succeeded, failed, skipped = StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED
        assert found.ended_items == {"loop": {0: succeeded, 3: failed}, "a/7": {0: skipped}}
        assert [a.path for a in found.attempts] == ["loop[1]"]
        assert found.inbox == (entry,)
        assert [s.path for s in await store.steps(new.id, items=False)] == ["loop"]

    @in_loop
    async def test_item_results_come_by_index_whatever_the_order_they_were_recorded_in(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        count = 1203
        items = [changed(f"loop[{i}]", result={"out": json_value(i)}) for i in reversed(range(count)) if i != 7]
        others = [changed("loop[7]", StepStatus.FAILED), changed("loop"), changed("loop2[0]"), changed("loop/1[0]")]
        await store.commit([batch(new, *items, *others)])
        found = [entry async for entry in store.item_results(new.id, StepPath("loop"))]
        assert [index for index, _, _ in found] == list(range(count))
        assert found[7] == (7, StepStatus.FAILED, None)
        assert found[count - 1] == (count - 1, StepStatus.SUCCEEDED, {"out": json_value(count - 1)})
        assert [entry async for entry in store.item_results(new.id, StepPath("none"))] == []

    @in_loop
    async def test_runs_come_newest_first_by_status_workflow_and_page(self, store: RunStore) -> None:
        runs = [new_run(of=f"flow-{n % 2}") for n in range(5)]
        for run in runs:
            await store.create(run, owner=OWNER)
        child = new_run(parent=runs[0])
        await store.commit([batch(runs[0], ChildCreated(child, AT)), batch(runs[1], RunEnded(RunStatus.FAILED, AT))])

        async def ids(query: RunQuery) -> list[RunId]:
            return [record.id for record in await store.runs(query)]

        newest_first = [run.id for run in reversed(runs)]
        assert await ids(RunQuery()) == newest_first
        assert await ids(RunQuery(children=True)) == [child.id, *newest_first]
        assert await ids(RunQuery(workflow_id=WorkflowId("flow-1"))) == [runs[3].id, runs[1].id]
        assert await ids(RunQuery(statuses=(RunStatus.FAILED, RunStatus.CANCELED))) == [runs[1].id]
        assert await ids(RunQuery(limit=2)) == newest_first[:2]
        assert await ids(RunQuery(limit=2, before=newest_first[1])) == newest_first[2:4]

    @in_loop
    async def test_attempts_come_in_the_order_of_their_start_and_keep_their_end(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        first = AttemptRecord(StepPath("a"), 1, AttemptId("1"), AT)
        other = AttemptRecord(StepPath("b"), 1, AttemptId("2"), AT)
        second = AttemptRecord(StepPath("a"), 2, AttemptId("3"), AT, node="n")
        ended = AttemptRecord(StepPath("a"), 1, AttemptId("1"), AT, AT + timedelta(1), "exception", node="n")
        await store.commit([batch(new, AttemptChanged(first), AttemptChanged(other))])
        await store.commit([batch(new, AttemptChanged(ended), AttemptChanged(second))])
        assert await store.attempts(new.id) == [ended, other, second]
        assert await store.attempts(new.id, StepPath("a")) == [ended, second]
        assert (await store.snapshot(new.id)).attempts == (other, second)

    @in_loop
    async def test_what_is_not_there_is_not_found(self, store: RunStore) -> None:
        new = new_run()
        for read in (store.run, store.spec, store.snapshot, store.delete):
            with pytest.raises(NotFoundError, match=new.id):
                await read(new.id)
        with pytest.raises(NotFoundError, match=new.id):
            await store.post(new.id, SignalCommand("go"))
        await store.create(new)
        with pytest.raises(NotFoundError, match="nowhere"):
            await store.step(new.id, StepPath("nowhere"))

    @in_loop
    async def test_what_one_store_object_recorded_the_other_reads(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=OWNER)
        await store.commit([batch(new, changed("a"))])
        assert (await other.run(new.id)).live
        assert await other.steps(new.id) == [step("a")]
