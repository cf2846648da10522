"""What becomes of attempts whose ends, notices and losses cross on their way."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.errors import RayUnavailableError, StepTimeoutError, WorkerLostError
from shoal.executors.before import Before
from shoal.executors.ray.arrivals import Arrivals
from shoal.executors.ray.board import Board, Place
from shoal.executors.ray.capacity import Capacity
from shoal.executors.ray.flights import Flights
from shoal.executors.ray.line import Lines
from shoal.executors.ray.pool import WarmHandle
from shoal.executors.ray.pools import Hooks, Pools
from shoal.executors.ray.task_carrier import TaskCarrier
from shoal.executors.wire import Reply, pack_reply
from shoal.model.attempts import Completion, Notice, Succeeded
from shoal.model.policies import Resources
from shoal.testing.executor_suite import call, outcome_error

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Ends:
    """Notes what the executor is told, and knows when attempts began."""

    def __init__(self):
        self.pools = None
        self.beginnings = {}
        self.lost_ones = []

    def landed(self, flight, completion):
        if self.pools is not None:
            self.pools.landed(flight, completion)

    def lost(self, flight):
        self.lost_ones.append(flight)

    def is_long(self, flight):
        pass

    def kill(self, attempt):
        pass

    def began(self, attempt):
        return self.beginnings.get(attempt)


class FakeLine:
    """The driver's end of a line that only notes what it is told to send."""

    def __init__(self):
        self.sent = []

    def send(self, ticket, jobs):
        self.sent.append(ticket)


def world():
    """Return flights and pools as the executor joins them, with one warm worker; Ray is never asked."""
    loop, ends, board = asyncio.get_running_loop(), Ends(), Board()
    flights = Flights(loop, ends)
    arrivals = Arrivals(loop, busy=lambda: False, after=lambda: None)
    hooks = Hooks(
        done=flights.done,
        lost=flights.broken,
        stopped=flights.stopped,
        alone=lambda flight: None,
        tasks_want=lambda: (0.0, False),
    )
    pools = ends.pools = Pools(
        kit=b"", board=board, lines=Lines(board.folder), arrivals=arrivals, capacity=Capacity(), hooks=hooks
    )
    pool = pools._pool(None, Resources())
    worker = WarmHandle(None, pool, pid=1, visible=True, line=FakeLine())
    pool.workers.append(worker)
    return flights, pools, worker, board


def test_a_result_that_overtakes_its_notices_is_not_carried_again():
    async def main():
        flights, pools, worker, board = world()
        attempt = call("echo")
        flight = flights.begin(attempt)
        flight.carrier = pools
        pools.send(flight)
        pools.feed()
        assert worker.line.sent == [""]
        completion = Completion(attempt.attempt_id, Succeeded({}), NOW, NOW, b"rest", 0, "")
        pools._reply(worker, pack_reply(Reply([(completion, Before(notices=1, logs=4))])))
        pools.feed()
        assert worker.line.sent == [""], "it has ended; its notice is on its way"
        flights.noticed(Notice(attempt.attempt_id, NOW, None, b"said", 0), Before())
        (done,) = await asyncio.wait_for(flights.completions.take(), 5)
        assert done.attempt_id == attempt.attempt_id
        pools.feed()
        assert worker.line.sent == [""]
        board.close()

    asyncio.run(main())


@pytest.mark.parametrize(("began", "error"), [(None, WorkerLostError), (3.0, WorkerLostError), (120.0, StepTimeoutError)])
def test_only_what_has_run_for_its_timeout_can_have_outrun_it(began, error, monkeypatch):
    async def main():
        from ray.exceptions import WorkerCrashedError

        from shoal.executors.ray import flights as module

        monkeypatch.setattr(module, "_SETTLE", 0.0)
        ends = Ends()
        flights = Flights(asyncio.get_running_loop(), ends)
        attempt = call("echo", timeout=60, grace=5)
        flight = flights.begin(attempt)
        flight.sent = -1000.0  # it has waited for long in a queue
        if began is not None:
            ends.beginnings[attempt.attempt_id] = time.monotonic() - began
        flights.broken(flight, WorkerCrashedError())
        (done,) = await asyncio.wait_for(flights.completions.take(), 5)
        assert isinstance(outcome_error(done), error)
        assert bool(ends.lost_ones) == (error is WorkerLostError)

    asyncio.run(main())


def test_a_cancel_finds_an_attempt_whose_task_has_answered_already():
    async def main():
        flights = Flights(asyncio.get_running_loop(), Ends())
        tasks = TaskCarrier(None, None, done=flights.done, broken=flights.broken)
        flight = flights.begin(call("echo"))
        assert tasks.drop(flight, timedelta(0)) is False
        tasks.end(flight)

    asyncio.run(main())


def test_the_board_tells_what_a_process_carries_and_since_when():
    board = Board()
    try:
        place = Place(board.folder)
        attempt = call("echo").attempt_id
        before = time.monotonic()
        place.take(attempt)
        assert board.carried_by(os.getpid()) == attempt
        assert before - 0.01 <= board.began(attempt) <= time.monotonic() + 0.01
        assert board.began("another") is None
        place.leave()
        assert board.carried_by(os.getpid()) is None
        assert board.began(attempt) is None
    finally:
        board.close()


def test_as_long_as_no_look_at_the_cluster_succeeded_everything_is_taken_to_fit():
    capacity = Capacity()
    odd = Resources(custom=(("fish", 1.0),))
    assert capacity.fits(odd)
    assert capacity.shortage(odd) is None
    capacity._nodes = [{"CPU": 2.0}]
    assert not capacity.fits(odd)
    assert "fish" in capacity.shortage(odd)


def test_a_worker_that_answers_nonsense_has_lost_what_it_carried(monkeypatch):
    async def main():
        from shoal.executors.ray import flights as module
        from shoal.executors.ray import pools as pools_module

        monkeypatch.setattr(module, "_SETTLE", 0.0)
        monkeypatch.setattr(pools_module, "_kill", lambda worker: None)
        flights, pools, worker, board = world()
        attempt = call("echo")
        flight = flights.begin(attempt)
        flight.carrier = pools
        pools.send(flight)
        pools.feed()
        Path(board.folder, "1").write_text(f"{attempt.attempt_id} 1.0")
        pools._reply(worker, b"hacked")
        (done,) = await asyncio.wait_for(flights.completions.take(), 5)
        assert isinstance(outcome_error(done), WorkerLostError)
        assert worker.ended
        board.close()

    asyncio.run(main())


def test_what_a_stopped_worker_holds_past_its_timeout_is_ended():
    async def main():
        flights, pools, _, board = world()
        late, fine = call("echo", timeout=1, grace=1), call("echo", timeout=1000)
        for attempt in (late, fine):
            flight = flights.begin(attempt)
            flight.carrier = pools
        now = time.monotonic()
        flights.look({late.attempt_id: now - 60, fine.attempt_id: now - 60, "unknown": 0.0})
        assert flights.under_way[late.attempt_id].overdue
        assert flights.under_way[late.attempt_id].forced
        assert not flights.under_way[fine.attempt_id].overdue
        board.close()

    asyncio.run(main())


def test_a_node_that_is_no_more_part_of_the_cluster_is_noticed(monkeypatch):
    from types import SimpleNamespace

    from shoal.executors.ray import capacity as module

    here, other = bytes.fromhex("aa"), bytes.fromhex("bb")
    seen = []
    context = SimpleNamespace(get_node_id=lambda: "aa")
    monkeypatch.setattr(module, "load_ray", lambda: SimpleNamespace(get_runtime_context=lambda: context))

    def usage(timeout):
        if seen[-1] is None:
            raise TimeoutError
        batch = [SimpleNamespace(node_id=node, resources_total={"CPU": 2.0}) for node in seen[-1]]
        data = SimpleNamespace(batch=batch, resource_load_by_shape=SimpleNamespace(resource_demands=[]))
        return SimpleNamespace(resource_usage_data=data)

    monkeypatch.setattr(module, "control_service", lambda: SimpleNamespace(get_all_resource_usage=usage))
    capacity = Capacity()

    def look(*nodes_of_each_look):
        for nodes in nodes_of_each_look:
            seen.append(nodes)
            capacity.look()
        return capacity.is_cut_off

    assert not look([other], [other], [other], [other]), "it was not there yet"
    assert not look([here, other], [other], [other], None, None, None)
    assert capacity.cpus == 2.0
    assert not look([here], [other], [other])
    assert look([other])


def test_without_its_ray_an_executor_gives_up():
    async def main():
        flights, _, _, board = world()
        flights.begin(call("echo"))
        flights.cut_off()
        with pytest.raises(RayUnavailableError):
            await asyncio.wait_for(flights.completions.take(), 5)
        board.close()

    asyncio.run(main())


def test_a_spare_worker_that_cannot_be_had_is_not_asked_for_again_and_again(monkeypatch):
    async def main():
        _, pools, _, board = world()
        started = []
        monkeypatch.setattr(pools, "_start", started.append)
        pools._capacity.cpus = 8.0
        pools.keep_spare()
        assert started == [pools._spare]
        pools._close_for_now(pools._spare)
        pools.keep_spare()
        assert len(started) == 1
        board.close()

    asyncio.run(main())
