"""Workflows on real Ray: the documented programs, the complaints that users had of ray.workflow, and kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

import shoal
from acceptance.command import Command, wait_until
from shoal import workflow

PROGRAM = Path(__file__).with_name("workflow_program.py")


@pytest.fixture(scope="module")
def flows(ray_connection, tmp_path_factory):
    workflow.shutdown()
    workflow.init(home=str(tmp_path_factory.mktemp("home")))
    yield workflow
    workflow.shutdown()


class Program:
    """The user's program, with what it wrote."""

    def __init__(self, home, address):
        self.home, self.address = home, address
        self.started = []

    def start(self, what):
        home = str(self.home)
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), what, home, self.address], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.started.append(process)
        return process

    def __call__(self, what):
        process = self.start(what)
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err

    def log(self, what):
        file = self.home / "log"
        return (
            [int(pid) for name, pid in map(str.split, file.read_text().splitlines()) if name == what] if file.exists() else []
        )


@pytest.fixture
def program(tmp_path, ray_address):
    program = Program(tmp_path, ray_address)
    yield program
    for process in program.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


# ---------------------------------------------------------------- the documentation of Ray 2.47


@ray.remote
def read_data(num: int):
    return list(range(num))


@ray.remote
def preprocessing(data):
    return [d**2 for d in data]


@ray.remote
def aggregate(data):
    return sum(data)


@ray.remote
def hello():
    return "hello"


@ray.remote
def add(a, b):
    return a + b


def test_the_documented_programs_of_getting_started_and_key_concepts(flows):
    output = aggregate.bind(preprocessing.bind(read_data.bind(10)))
    assert workflow.run(output) == 285
    assert ray.get(workflow.run_async(output)) == 285

    @ray.remote
    def words():
        return [hello.remote(), ray.put("world")]

    @ray.remote
    def concat(words):
        return " ".join([ray.get(w) for w in words])

    assert workflow.run(concat.bind(words.bind())) == "hello world"

    @ray.remote
    def fib(n):
        return n if n <= 1 else workflow.continuation(add.bind(fib.bind(n - 1), fib.bind(n - 2)))

    assert workflow.run(fib.bind(7)) == 13

    @ray.remote
    def bar():
        return 10

    @ray.remote
    def foo():
        return workflow.continuation(bar.bind())

    with pytest.warns(ray.util.annotations.RayDeprecationWarning):
        assert ray.get(foo.bind().execute()) == 10
    assert workflow.run(foo.bind()) == 10

    @ray.remote
    def faulty():
        raise RuntimeError("oops")

    with pytest.raises(ray.exceptions.RayTaskError, match="oops"):
        workflow.run(faulty.options(max_retries=5).bind())
    with pytest.raises(workflow.WorkflowExecutionError, match="oops"):
        ray.get(workflow.run_async(faulty.bind()))

    @ray.remote
    def handle_errors(result):
        return f"There was an error: {result[1]}" if result[1] else "OK"

    caught = faulty.options(**workflow.options(catch_exceptions=True)).bind()
    assert workflow.run(handle_errors.bind(caught)) == "There was an error: oops"

    sleep_task = workflow.sleep(0.2)
    event_task = workflow.wait_for_event(workflow.event_listener.TimerListener, time.time() + 0.3)
    gather = ray.remote(lambda *args: args)
    assert workflow.run(gather.bind(sleep_task, event_task, "hello world")) == (None, None, "hello world")


def test_references_and_values_of_ray_put_are_recorded_and_nested_ones_stay_references(flows):
    @ray.remote
    def total(values):
        return sum(ray.get(values))

    @ray.remote
    def do_add(a, b):
        return add.remote(a, b)

    assert workflow.run(total.bind([aggregate.bind([n]) for n in range(4)])) == 6
    assert workflow.run(do_add.bind(ray.put(10), ray.put(20))) == 30
    assert workflow.run(total.bind([ray.put(1), aggregate.bind(ray.put([2, 3]))])) == 6


def test_outputs_of_tasks_are_there_while_the_workflow_runs_and_other_ray_code_waits_for_them(flows, tmp_path):
    door = tmp_path / "door"

    @ray.remote
    def wait(v):
        while not door.exists():
            time.sleep(0.05)
        return 2 * v

    inner = aggregate.options(**workflow.options(task_id="inner")).bind([1, 2])
    ref = workflow.run_async(wait.options(**workflow.options(task_id="outer")).bind(inner), workflow_id="parts")
    assert ray.get(workflow.get_output_async("parts", task_id="inner")) == 3
    later = add.remote(ref, 1)
    outer = workflow.get_output_async("parts", task_id="outer")
    door.touch()
    assert ray.get([later, outer, ref]) == [7, 6, 6]


def test_a_runtime_env_gives_variables(flows):
    env = ray.remote(runtime_env={"env_vars": {"WORKFLOW_TEST": "1"}})(lambda: os.environ.get("WORKFLOW_TEST"))
    assert workflow.run(env.bind()) == "1"


# ---------------------------------------------------------------- what users complained of


def test_no_storage_is_set_up_on_an_existing_cluster_37607(flows):
    assert workflow.run(hello.bind()) == "hello"


class Bell(workflow.EventListener):
    async def poll_for_event(self, file):
        while not Path(file).exists():  # noqa: ASYNC110 - it is a listener that polls
            await asyncio.sleep(0.05)
        return file


def test_an_event_costs_no_worker_19239(flows, tmp_path):
    bell = str(tmp_path / "bell")
    waiting = workflow.run_async(ray.remote(lambda *a: len(a)).bind(*[workflow.wait_for_event(Bell, bell) for _ in range(8)]))
    # The cluster has two CPUs: eight listeners wait, and there is room for tasks.
    assert workflow.run(add.bind(aggregate.bind([1]), aggregate.bind([2]))) == 3
    Path(bell).touch()
    assert ray.get(waiting) == 8


def test_cancel_ends_the_work_and_a_canceled_workflow_can_be_resumed_17669_19530(flows, tmp_path):
    door, pids = tmp_path / "door", tmp_path / "pids"

    @ray.remote
    def work():
        with pids.open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not door.exists():
            time.sleep(0.05)
        return "done"

    ref = workflow.run_async(work.bind(), workflow_id="stopped")
    wait_until(pids.exists)
    workflow.cancel("stopped")
    with pytest.raises(workflow.WorkflowCancellationError):
        ray.get(ref)
    assert workflow.get_status("stopped") == workflow.CANCELED
    pid = int(pids.read_text().split()[0])
    wait_until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or b"work" not in Path(f"/proc/{pid}/cmdline").read_bytes())
    door.touch()
    assert workflow.resume("stopped") == "done"


def test_an_unrolled_loop_is_linear_31819(flows):
    @ray.remote
    def loop(n):
        return n if n == 0 else workflow.continuation(loop.bind(n - 1))

    def seconds(n):
        started = time.monotonic()
        assert workflow.run(loop.bind(n)) == 0
        return time.monotonic() - started

    seconds(50)
    assert seconds(600) < 6 * seconds(200) + 2


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_unrolled_loop_of_ten_thousand_continuations_31819(flows):
    loop = ray.remote(_loop)
    assert workflow.run(loop.bind(10_000), workflow_id="ten-thousand") == 0


def _loop(n):
    return n if n == 0 else workflow.continuation(ray.remote(_loop).bind(n - 1))


def test_retries_are_what_is_written_down_18324_26350_26913(flows, tmp_path):
    def count(name):
        return len((tmp_path / name).read_text())

    @ray.remote(max_retries=2)
    def dies(name):
        with (tmp_path / name).open("a") as file:
            file.write("x")
        os._exit(1) if count(name) < 3 else None
        raise ValueError("no")

    with pytest.raises(workflow.WorkflowExecutionError, match="no"):
        workflow.run(dies.bind("a"))
    assert count("a") == 3, "two lost workers were retried, the exception was not"
    with pytest.raises(workflow.WorkflowExecutionError, match="died"):
        workflow.run(dies.options(max_retries=0).bind("b"))
    assert count("b") == 1


def test_dag_nodes_nest_as_in_the_documented_examples_26119_28114(flows):
    @ray.remote
    def trip(flights, hotels):
        return [*ray.get(flights), *ray.get(hotels)]

    @ray.remote
    def book(what):
        return f"booked {what}"

    @ray.remote
    def book_trip():
        return workflow.continuation(trip.bind([book.bind("f1"), book.bind("f2")], [book.bind("h")]))

    assert workflow.run(book_trip.bind()) == ["booked f1", "booked f2", "booked h"]


def test_runs_are_seen_and_drawn_by_the_command_16992_17091(flows, ray_address):
    workflow.run(add.bind(aggregate.bind([1]), 2), workflow_id="shown")
    home = Path(workflow._current.session().plan.settings["home"])
    shoal = Command(home, ray_address)
    told = shoal.json("show", "shown")
    assert (told["status"], told["outputs"]) == ("succeeded", {"result": 3})
    assert [step["name"] for step in told["steps"]] == ["aggregate", "add"]
    assert "shown" in shoal("runs").stdout
    drawn = shoal("graph", "shown")
    assert drawn.returncode == 0
    assert "aggregate" in drawn.stdout


def test_what_is_deleted_leaves_the_journal_30515(flows):
    workflow.run(hello.bind(), workflow_id="deleted")
    workflow.delete("deleted")
    assert all(name != "deleted" for name, _ in workflow.list_all())
    with pytest.raises(workflow.exceptions.WorkflowNotFoundError):
        workflow.get_status("deleted")


# ---------------------------------------------------------------- kills


def storm(program, kills, seed):
    """Kill the program so many times, resume all each time; then hold what it recorded and noted against the promises."""
    order = random.Random(seed)
    notes = program.home / "notes"
    done = 0
    for _ in range(kills):
        before = len(notes.read_text().splitlines()) if notes.exists() else 0
        goal = before + order.randint(3, 12)
        process = program.start("storm")
        wait_until(
            lambda goal=goal, p=process: (
                p.poll() is not None or (notes.exists() and len(notes.read_text().splitlines()) >= goal)
            )
        )
        time.sleep(order.random() * 0.2)
        done += process.poll() is None
        process.kill()
        process.communicate()
    program("storm")
    asyncio.run(check(program.home, [json.loads(line) for line in notes.read_text().splitlines()], done))


async def check(home, notes, kills):
    async with shoal.connect(home=str(home)) as client:
        for run in await client.runs():
            assert run.status == "succeeded", run.error
            assert await (await client.handle(run.id)).result() == {"result": 68}
            for step in await client.store.steps(run.id):
                mine = [note for note in notes if note["key"] == f"{run.id}:{step.path}"]
                assert mine, f"{step.path} never ran"
                assert len(mine) <= 1 + kills
                assert len({note["attempt"] for note in mine}) == len(mine), "an attempt number was given out twice"
                late = [note for note in mine if note["at"] > step.finished_at.timestamp()]
                assert not late, f"{step.path} ran again after its result was recorded"


def test_killing_the_program_breaks_no_promise_19407(program):
    storm(program, kills=1, seed=11)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2])
def test_killing_the_program_ten_times_breaks_no_promise(program, seed):
    storm(program, kills=10, seed=seed)


def test_a_detached_actor_goes_on_when_its_program_has_ended_18407(program):
    program("detached")
    wait_until(lambda: program.log("held"))
    (program.home / "door").touch()
    program("detached-end")
    assert [len(program.log(what)) for what in ("first", "held", "join")] == [1, 1, 1]


def test_killed_workers_cost_attempts_and_no_workflow(flows, tmp_path):
    log = tmp_path / "log"

    @ray.remote(max_retries=-1)
    def slow(n):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {n}\n")
        time.sleep(0.3)
        return n

    order = random.Random(5)
    ref = workflow.run_async(ray.remote(lambda *a: sum(a)).bind(*[slow.bind(n) for n in range(6)]))
    for _ in range(2):
        wait_until(log.exists)
        time.sleep(0.2 + 0.2 * order.random())
        try:
            os.kill(int(log.read_text().splitlines()[-1].split()[0]), signal.SIGKILL)
        except ProcessLookupError:
            continue
    assert ray.get(ref) == 15


@pytest.mark.own_ray
def test_the_whole_ray_is_killed_and_resume_all_finishes(tmp_path):
    keeper = [sys.executable, str(Path(__file__).parents[1] / "ray_process.py"), "2"]

    def cluster():
        process = subprocess.Popen(keeper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        return process, process.stdout.readline().strip()

    first, address = cluster()
    program = Program(tmp_path, address)
    process = program.start("start")
    wait_until(lambda: len(program.log("held")) >= 1)
    for pid in [first.pid, *descendants(first.pid)]:
        os.kill(pid, signal.SIGKILL)
    first.communicate()
    process.kill()
    process.communicate()
    second, program.address = cluster()
    try:
        program("resume")
    finally:
        second.communicate(timeout=60)


@pytest.mark.full
@pytest.mark.own_ray
def test_a_program_may_leave_its_ray_and_start_another(program):
    program("restart")


def descendants(pid):
    """Return the processes of a Ray: gone with one look, so that none is missed when its parent dies."""
    lines = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.splitlines()
    parents = dict(map(int, line.split()) for line in lines)
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}
