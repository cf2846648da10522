"""Promises of a store about leases, commands, waiting and retention; part of `store_suite`."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from shoal.errors import ConflictError, NotFoundError
from shoal.model.ids import Digest, OwnerId, StepPath
from shoal.model.run import (
    CancelCommand,
    ChildCreated,
    InboxHandled,
    NewRun,
    Noted,
    ParkCommand,
    ResumeCommand,
    RunChanged,
    RunEnded,
    RunStatus,
    ScopeOpened,
    ScopeRecord,
    SignalCommand,
    ToolsLocked,
)
from shoal.model.values import Arguments, Value
from shoal.ports import LEASE_TTL, ClaimQuery, RunStore
from shoal.testing.records import AT, batch, changed, in_loop, new_run, workflow
from shoal.testing.store_records import LOCK

if TYPE_CHECKING:
    from shoal.testing.store_suite import SettableClock

ONE = OwnerId("owner-one")
TWO = OwnerId("owner-two")
THREE = OwnerId("owner-three")
ORPHANS = ClaimQuery(fingerprint="here")
MOMENT = timedelta(microseconds=1)


def exactly(run: NewRun) -> ClaimQuery:
    """Return the query for one run's lease, as an explicit resume makes it."""
    return ClaimQuery((run.id,))


class LeaseCases:
    """Who may drive a run."""

    @in_loop
    async def test_a_live_lease_is_not_taken_not_even_explicitly(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        clock.advance(LEASE_TTL - MOMENT)
        assert not await other.claim(TWO, ORPHANS)
        assert not await other.claim(TWO, exactly(new))
        assert not await store.claim(ONE, exactly(new))

    @in_loop
    async def test_an_expired_lease_is_taken_under_the_next_epoch(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        clock.advance(LEASE_TTL)
        assert not (await store.run(new.id)).live
        (lease,) = await other.claim(TWO, ORPHANS)
        assert (lease.run_id, lease.owner, lease.epoch, lease.automatic) == (new.id, TWO, 2, True)
        assert lease.expires_at == clock.now() + LEASE_TTL
        assert (await store.run(new.id)).live

    @in_loop
    async def test_a_late_owner_may_write_until_its_lease_is_taken_and_not_after(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        new = new_run()
        child = new_run(parent=new)
        await store.create(new, owner=ONE)
        clock.advance(LEASE_TTL * 3)
        assert await store.commit([batch(new, ChildCreated(child, AT), changed("a"))]) == frozenset()
        await other.claim(TWO, ORPHANS)
        assert await store.commit([batch(new, changed("b")), batch(child, changed("b"))]) == {new.id, child.id}
        assert await other.commit([batch(child, changed("b"), epoch=2)]) == frozenset()
        assert [step.path for step in await store.steps(new.id)] == ["a"]

    @in_loop
    async def test_the_leases_of_a_store_that_was_closed_are_dead_at_once(self, store: RunStore, other: RunStore) -> None:
        runs = [new_run(), new_run()]
        for new in runs:
            await other.create(new, owner=ONE)
        other.close()
        assert not (await store.run(runs[0].id)).live
        leases = await store.claim(TWO, ORPHANS)
        assert {lease.run_id for lease in leases} == {new.id for new in runs}
        assert all(lease.automatic and lease.epoch == 2 for lease in leases)

    @in_loop
    async def test_closing_twice_does_no_harm(self, store: RunStore, other: RunStore) -> None:
        other.close()
        other.close()
        other.renew(ONE)
        await store.create(new_run(), owner=ONE)

    @in_loop
    async def test_a_released_run_is_taken_up_and_counts_as_no_takeover(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        await store.release(ONE, [new.id], park=False)
        assert not (await store.run(new.id)).live
        assert await store.commit([batch(new, changed("a"))]) == {new.id}
        (lease,) = await other.claim(TWO, ORPHANS)
        assert (lease.epoch, lease.automatic) == (2, False)

    @in_loop
    async def test_a_parked_run_is_taken_up_only_explicitly_and_then_no_longer_parked(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        released, born = new_run(), new_run(parked=True)
        await store.create(released, owner=ONE)
        await store.create(born)
        await store.release(ONE, [released.id], park=True)
        assert not await other.claim(TWO, ORPHANS)
        for new in (released, born):
            assert (await store.run(new.id)).parked
            (lease,) = await other.claim(TWO, exactly(new))
            assert not lease.automatic
            assert not (await store.run(new.id)).parked
        clock.advance(LEASE_TTL)
        assert len(await store.claim(THREE, ORPHANS)) == 2

    @in_loop
    async def test_only_runs_under_way_of_the_own_fingerprint_are_taken_automatically(self, store: RunStore) -> None:
        ended, foreign, waiting, pending = new_run(), new_run(fingerprint="elsewhere"), new_run(), new_run()
        for new in (ended, foreign, waiting, pending):
            await store.create(new, owner=ONE)
        child = new_run(parent=waiting)
        await store.commit(
            [
                batch(ended, RunEnded(RunStatus.FAILED, AT)),
                batch(waiting, RunChanged(RunStatus.WAITING, AT), ChildCreated(child, AT)),
            ]
        )
        await store.release(ONE, [new.id for new in (ended, foreign, waiting, pending)], park=False)
        assert {lease.run_id for lease in await store.claim(TWO, ORPHANS)} == {waiting.id, pending.id}
        explicit = ClaimQuery((ended.id, foreign.id, child.id))
        assert {lease.run_id for lease in await store.claim(TWO, explicit)} == {ended.id, foreign.id}

    @in_loop
    async def test_the_end_of_a_run_gives_its_lease_back_and_that_of_a_sub_workflow_does_not(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        child = new_run(parent=new)
        await store.commit([batch(new, ChildCreated(child, AT)), batch(child, RunEnded(RunStatus.SUCCEEDED, AT))])
        assert (await store.run(new.id)).live
        await store.commit([batch(new, RunEnded(RunStatus.FAILED, AT), changed("a"))])
        assert not (await store.run(new.id)).live
        assert await store.commit([batch(new, changed("b"))]) == {new.id}, "what comes later is refused"
        assert [step.path for step in await store.steps(new.id)] == ["a"]
        (lease,) = await store.claim(TWO, exactly(new))
        assert (lease.epoch, lease.automatic) == (2, False)

    @in_loop
    async def test_a_claim_takes_no_more_than_its_limit_the_oldest_first(self, store: RunStore) -> None:
        runs = [new_run() for _ in range(3)]
        for new in runs:
            await store.create(new)
        first = await store.claim(ONE, ClaimQuery(fingerprint="here", limit=2))
        assert [lease.run_id for lease in first] == [new.id for new in runs[:2]]
        assert [lease.run_id for lease in await store.claim(TWO, ORPHANS)] == [runs[2].id]

    @in_loop
    async def test_renewing_extends_all_leases_of_an_owner_and_no_others(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        mine, also_mine, theirs = new_run(), new_run(), new_run()
        await store.create(mine, owner=ONE)
        await store.create(also_mine, owner=ONE)
        await other.create(theirs, owner=TWO)
        clock.advance(LEASE_TTL / 2)
        await asyncio.to_thread(store.renew, ONE)
        clock.advance(LEASE_TTL * 0.9)
        assert [lease.run_id for lease in await other.claim(THREE, ORPHANS)] == [theirs.id]
        clock.advance(LEASE_TTL * 0.1)
        assert len(await other.claim(THREE, ORPHANS)) == 2

    @in_loop
    async def test_what_is_not_held_is_not_released(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        await other.release(TWO, [new.id, new_run().id], park=True)
        record = await store.run(new.id)
        assert (record.live, record.parked) == (True, False)

    @in_loop
    async def test_an_owner_id_serves_one_store_object_at_a_time(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        await store.create(new_run(), owner=ONE)
        with pytest.raises(ConflictError, match="alive"):
            await other.create(new, owner=ONE)
        with pytest.raises(NotFoundError):
            await store.run(new.id)

    @in_loop
    async def test_the_oldest_lease_is_that_of_the_longest_held_run(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        assert await store.oldest_lease() is None
        await other.create(new_run(), owner=ONE)
        first = clock.now()
        clock.advance(timedelta(seconds=3))
        await store.create(new_run(), owner=TWO)
        store.renew(TWO)
        other.renew(ONE)
        assert await store.oldest_lease() == first
        other.close()
        assert await store.oldest_lease() == clock.now()


class InboxCases:
    """Commands, and waiting for anything to happen."""

    @in_loop
    async def test_commands_are_kept_in_order_until_they_are_handled(
        self, store: RunStore, other: RunStore, clock: SettableClock
    ) -> None:
        one, two = new_run(), new_run()
        await store.create(one, owner=ONE)
        await store.create(two, owner=ONE)
        commands = (SignalCommand("go", {"x": [1, "ü"]}), ParkCommand(), ResumeCommand(accept_tool_change=True))
        entries = [await other.post(one.id, command) for command in commands]
        last = await other.post(two.id, SignalCommand("go"))
        assert [entry.command for entry in entries] == list(commands)
        assert [entry.at for entry in entries] == [clock.now()] * 3
        assert await store.inbox([one.id, two.id]) == [*entries, last]
        assert await store.inbox([one.id], after=entries[0].seq) == entries[1:]
        assert await store.inbox([]) == []
        wrong = batch(two, InboxHandled(entries[0].seq))
        await store.commit([batch(one, InboxHandled(entries[1].seq)), wrong])
        assert await store.inbox([one.id]) == [entries[0], entries[2]]
        again = await other.post(one.id, CancelCommand())
        assert again.seq > last.seq

    @in_loop
    async def test_requests_are_the_resumes_of_runs_that_nobody_drives(self, store: RunStore, other: RunStore) -> None:
        driven, free, ended = new_run(), new_run(parked=True), new_run()
        await store.create(driven, owner=ONE)
        await store.create(free)
        await store.create(ended)
        await other.post(driven.id, ResumeCommand())
        await other.post(free.id, CancelCommand())
        wanted = [await other.post(free.id, ResumeCommand()), await other.post(ended.id, ResumeCommand())]
        assert await store.requests() == wanted
        await other.claim(TWO, exactly(free))
        assert await store.requests() == wanted[1:]

    @in_loop
    async def test_waiting_ends_at_once_with_a_change_by_the_same_object(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        mark = await store.wait(None, 60)
        waiting = [asyncio.create_task(store.wait(mark, 60)) for _ in range(3)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await store.commit([batch(new, changed("a"))])
        marks = await asyncio.gather(*waiting)
        assert time.monotonic() - began < 0.2
        assert len(set(marks)) == 1
        assert mark not in marks

    @in_loop
    async def test_waiting_ends_soon_after_a_change_by_another_object(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)
        mark = await store.wait(None, 60)
        waiting = asyncio.create_task(store.wait(mark, 60))
        await asyncio.sleep(0)
        began = time.monotonic()
        await other.post(new.id, CancelCommand())
        assert await waiting != mark
        assert time.monotonic() - began < 0.6

    @in_loop
    async def test_waiting_for_a_change_that_was_before_returns_at_once(self, store: RunStore) -> None:
        mark = await store.wait(None, 60)
        await store.create(new_run())
        assert await asyncio.wait_for(store.wait(mark, 60), 1) != mark

    @in_loop
    async def test_waiting_ends_when_its_time_has_passed(self, store: RunStore) -> None:
        mark = await store.wait(None, 60)
        began = time.monotonic()
        assert await store.wait(mark, 0.05) == mark
        assert 0.04 < time.monotonic() - began < 1


class RetentionCases:
    """What goes, and what is kept."""

    @in_loop
    async def test_a_deleted_run_takes_everything_of_it_and_its_children_along(self, store: RunStore) -> None:
        new, kept = new_run(), new_run()
        child = new_run(parent=new)
        grandchild = new_run(parent=child)
        await store.create(new, owner=ONE)
        await store.create(kept, owner=ONE)
        blob = Value("json", 99, digest=Digest("1" * 64))
        recorded = changed("a", result={"out": blob})
        batches = [batch(new, recorded, ChildCreated(child, AT)), batch(child, recorded, ChildCreated(grandchild, AT))]
        await store.commit([*batches, batch(grandchild, recorded)])
        await store.post(grandchild.id, CancelCommand())
        await store.release(ONE, [new.id], park=False)
        await store.delete(new.id)
        for gone in (new, child, grandchild):
            with pytest.raises(NotFoundError):
                await store.run(gone.id)
            assert not await store.steps(gone.id)
            assert not await store.events(gone.id)
            assert not await store.inbox([gone.id])
        assert await store.referenced_blobs() == frozenset()
        assert (await store.run(kept.id)).live
        assert await store.commit([batch(new, changed("a"))]) == {new.id}
        await store.create(new)
        assert not await store.steps(new.id)

    @in_loop
    async def test_a_run_that_is_driven_is_not_deleted(self, store: RunStore, other: RunStore) -> None:
        new = new_run()
        child = new_run(parent=new)
        await store.create(new, owner=ONE)
        await store.commit([batch(new, ChildCreated(child, AT))])
        for run in (new, child):
            with pytest.raises(ConflictError, match=run.id):
                await other.delete(run.id)
        assert (await store.run(child.id)).live

    @in_loop
    async def test_old_ended_roots_may_be_pruned_but_for_the_newest_of_each_workflow(self, store: RunStore) -> None:
        old = [new_run(of="a") for _ in range(3)] + [new_run(of="b")]
        recent, going, driven = new_run(of="b"), new_run(of="a"), new_run(of="c")
        for new in (*old, recent, going):
            await store.create(new, owner=ONE)
        await store.create(driven, owner=TWO)
        child = new_run(parent=old[0])
        later = AT + timedelta(days=1)
        await store.commit([batch(old[0], ChildCreated(child, AT)), batch(child, RunEnded(RunStatus.FAILED, AT))])
        await store.commit([batch(new, RunEnded(RunStatus.SUCCEEDED, AT)) for new in (*old, driven)])
        await store.commit([batch(recent, RunEnded(RunStatus.CANCELED, later))])
        await store.release(ONE, [going.id], park=False)
        assert await store.claim(TWO, exactly(driven))
        ids = [new.id for new in old]
        assert await store.prunable(older_than=None, keep=None) == [*ids, recent.id]
        assert await store.prunable(older_than=later, keep=None) == ids
        assert await store.prunable(older_than=AT, keep=None) == []
        assert await store.prunable(older_than=None, keep=1) == [*ids[:2], ids[3]]
        assert await store.prunable(older_than=later, keep=2) == ids[:1]

    @in_loop
    async def test_every_blob_that_any_row_names_is_referenced(self, store: RunStore) -> None:
        new = new_run()
        await store.create(new, owner=ONE)

        def value(digit: str) -> Value:
            return Value("pickle", 99, digest=Digest(digit * 64), type_name="x")

        inside = b'[{"v":1},{"d":"' + b"3" * 64 + b'","s":9,"c":"json","t":""}]'
        scope = ScopeRecord(StepPath("a"), workflow(), Arguments({"x": None}, (((("x"),), value("4")),)), 1)
        await store.commit(
            [
                batch(
                    new,
                    ToolsLocked((LOCK,), AT),
                    changed("a", result={"x": value("1"), "y": Value("manifest", len(inside), data=inside)}),
                    ScopeOpened(scope, AT),
                    RunEnded(RunStatus.SUCCEEDED, AT, {"x": value("5"), "y": value("1")}),
                    Noted("x", AT),
                )
            ]
        )
        assert await store.referenced_blobs() == {digit * 64 for digit in "1345ab"}
