"""Every function, status and exception of the API, without Ray."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import ray

from shoal import workflow
from shoal.errors import ConflictError, InvalidInputError, NonRetryableError, ShoalError, UnsupportedError
from shoal.workflow.http_event_provider import HTTPListener

TOKEN = "a-token-for-tests"  # noqa: S105


@ray.remote
def one():
    return 1


@ray.remote
def add(a, b=0):
    return a + b


@ray.remote
def double(v):
    return 2 * v


@ray.remote
def fail():
    raise ValueError("oops")


@ray.remote
def gather(*args, **kwargs):
    return (args, kwargs) if kwargs else args


def named(task, name, **more):
    return task.options(**workflow.options(task_id=name, **more))


def failure_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001
        return error
    return None


def soon(call):
    threading.Timer(0.2, call).start()


# ---------------------------------------------------------------- running


def test_a_dag_is_run_and_its_shared_nodes_once(flows, tmp_path):
    @ray.remote
    def noted():
        with (tmp_path / "log").open("a") as file:
            file.write("x")
        return 1

    shared = noted.bind()
    assert flows.run(add.bind(shared, add.bind(shared, b=shared))) == 3
    assert (tmp_path / "log").read_text() == "x"


def test_nodes_may_lie_anywhere_in_the_arguments(flows):
    a, b = one.bind(), double.bind(4)
    args, kwargs = flows.run(gather.bind([a, {"k": (b, 3)}], a, x={"y": b}))
    assert args == ([1, {"k": (8, 3)}], 1)
    assert kwargs == {"x": {"y": 8}}


def test_arguments_and_values_may_be_any_python_objects(flows):
    class Point:
        def __init__(self, x):
            self.x = x

    made = flows.run(add.bind(complex(1, 2), 1j))
    assert made == 1 + 3j

    @ray.remote
    def shift(point, by):
        return Point(point.x + by)

    assert flows.run(shift.bind(shift.bind(Point(1), 2), by=3)).x == 6
    assert flows.run(add.bind((1,), (2,))) == (1, 2), "a tuple stays one"
    assert flows.run(gather.bind({"a": 1}))[0] == {"a": 1}, "a mapping is one value"


def test_the_input_of_a_dag(flows):
    with ray.dag.InputNode() as inp:
        several = add.bind(inp[0], inp.b)
    assert flows.run(several, 1, b=2) == 3
    with ray.dag.InputNode() as inp:
        whole = double.bind(inp)
        field = add.bind(inp["x"], inp["y"])
    assert flows.run(whole, 4) == 8
    assert flows.run(field, {"x": 1, "y": 5}) == 6
    with pytest.raises(InvalidInputError, match="was given no input"):
        flows.run(whole)
    with pytest.raises(InvalidInputError, match="has no InputNode"):
        flows.run(one.bind(), 1)


def test_a_long_chain_needs_no_deep_stack(flows):
    node = one.bind()
    for _ in range(1500):
        node = add.bind(node, 0)
    from shoal.workflow._graph import build_graph

    assert len(build_graph(node, flows._current.session().client.blobs.put).steps) == 1501


def test_what_is_no_dag_is_refused(flows):
    @ray.remote
    class Actor:
        def m(self):
            return 1

    with pytest.raises(UnsupportedError, match="not in this version"):
        flows.run(Actor.bind().m.bind())
    with pytest.raises(InvalidInputError, match="not a int"):
        flows.run(3)
    lock = threading.Lock()
    with pytest.raises(NonRetryableError, match="cannot be stored"):
        flows.run(ray.remote(lambda: lock).bind())


def test_an_object_ref_needs_ray(flows):
    with pytest.raises(UnsupportedError, match="needs Ray"):
        flows.run_async(one.bind())


def test_an_id_alone_decides_whether_a_run_exists(flows):
    assert flows.run(add.bind(1, 2), workflow_id="same") == 3
    assert flows.run(add.bind(5, 5), workflow_id="same") == 3
    with pytest.raises(TypeError, match="string"):
        flows.run(one.bind(), workflow_id=3)
    with pytest.raises(InvalidInputError, match="cannot be a workflow id"):
        flows.run(one.bind(), workflow_id="a/b")


# ---------------------------------------------------------------- continuations


@ray.remote
def factorial(n):
    return 1 if n == 1 else workflow.continuation(multiply.bind(n, factorial.bind(n - 1)))


@ray.remote
def multiply(a, b):
    return a * b


@ray.remote
def countdown(n):
    return "done" if n == 0 else workflow.continuation(countdown.bind(n - 1))


def test_continuations_nest_and_their_tasks_go_by_number(flows):
    assert flows.run(factorial.bind(6), workflow_id="fact") == 720
    assert flows.get_output("fact", task_id="factorial") == 720
    assert flows.get_output("fact", task_id="factorial_1") == 120
    assert flows.get_output("fact", task_id="multiply") == 720
    assert flows.get_metadata("fact", "factorial_2")["task_options"]["max_retries"] == 3


def test_a_loop_is_flat_and_writes_its_code_once(flows, tmp_path):
    @ray.remote
    def loop(n):
        return "done" if n == 0 else workflow.continuation(loop.bind(n - 1))

    folder = Path(flows._current.session().plan.settings["home"]) / "blobs"
    before = count_files(folder)
    assert flows.run(loop.bind(40)) == "done"
    assert count_files(folder) - before <= 3


def count_files(folder):
    return sum(1 for file in folder.rglob("*") if file.is_file())


def test_a_node_returned_without_continuation_is_refused(flows):
    @ray.remote
    def wrong():
        return one.bind()

    with pytest.raises(workflow.WorkflowExecutionError, match="continuation"):
        flows.run(wrong.bind())


# ---------------------------------------------------------------- failures


def test_a_failure_names_the_task_and_keeps_the_cause(flows):
    with pytest.raises(workflow.WorkflowExecutionError, match="task fail: ValueError: oops") as caught:
        flows.run(add.bind(fail.bind(), 1), workflow_id="failed")
    assert caught.value.__cause__.exception == "ValueError"
    assert "raise ValueError" in caught.value.__cause__.traceback
    assert isinstance(caught.value, workflow.WorkflowError)
    assert isinstance(caught.value, ShoalError)
    assert flows.get_status("failed") == workflow.FAILED
    with pytest.raises(workflow.WorkflowExecutionError):
        flows.get_output("failed")
    with pytest.raises(workflow.WorkflowExecutionError):
        flows.get_output("failed", task_id="fail")


def test_exceptions_that_are_caught_are_values(flows):
    caught = workflow.options(catch_exceptions=True)
    value, error = flows.run(caught(fail).bind())
    assert value is None
    assert isinstance(error, ValueError)
    assert flows.run(caught(one).bind()) == (1, None)
    assert flows.run(gather.bind(caught(fail).bind()))[0][0] is None
    assert isinstance(
        flows.run(workflow.options(catch_exceptions=True)(ray.remote(lambda: workflow.continuation(fail.bind()))).bind())[1],
        ValueError,
    )
    waits = ray.remote(lambda: workflow.continuation(workflow.sleep(0)))
    assert flows.run(caught(waits).bind()) == (None, None)


def test_a_caught_exception_that_does_not_pickle_is_told_by_what_is_recorded(flows):
    @workflow.options(catch_exceptions=True)
    @ray.remote
    def odd():
        error = RuntimeError("held")
        error.lock = threading.Lock()
        raise error

    value, error = flows.run(odd.bind())
    assert value is None
    assert "held" in str(error)


def test_exceptions_are_retried_only_where_retry_exceptions_says_so(flows, tmp_path):
    @ray.remote
    def flaky(name, good):
        with (tmp_path / name).open("a") as file:
            file.write("x")
        if len((tmp_path / name).read_text()) < good:
            raise ConnectionError("again")
        return "ok"

    with pytest.raises(workflow.WorkflowExecutionError):
        flows.run(flaky.options(max_retries=5).bind("a", 2))
    assert flows.run(flaky.options(max_retries=5, retry_exceptions=True).bind("b", 3)) == "ok"
    assert flows.run(flaky.options(retry_exceptions=[OSError]).bind("c", 2)) == "ok"
    with pytest.raises(workflow.WorkflowExecutionError):
        flows.run(flaky.options(retry_exceptions=[KeyError]).bind("d", 2))
    assert (tmp_path / "a").read_text() == "x"


def test_a_task_may_have_a_time_out(flows):
    @ray.remote
    def slow():
        time.sleep(0.6)

    started = time.monotonic()
    with pytest.raises(workflow.WorkflowExecutionError) as caught:
        flows.run(slow.options(**workflow.options(timeout=0.2)).bind())
    assert caught.value.__cause__.code == "timeout"
    assert time.monotonic() - started < 10


# ---------------------------------------------------------------- resuming, statuses, management


def test_a_failed_workflow_is_resumed_from_the_failed_task(flows, tmp_path):
    @ray.remote
    def noted():
        with (tmp_path / "log").open("a") as file:
            file.write("x")
        return 4

    @ray.remote
    def guarded(v):
        if not (tmp_path / "ok").exists():
            raise ValueError("not yet")
        return v + 1

    with pytest.raises(workflow.WorkflowExecutionError):
        flows.run(guarded.bind(noted.bind()), workflow_id="again")
    failed = flows.get_metadata("again")
    (tmp_path / "ok").touch()
    assert flows.resume("again") == 5
    assert flows.resume("again") == 5, "one that has succeeded has its value"
    assert (tmp_path / "log").read_text() == "x"
    resumed = flows.get_metadata("again")
    assert (failed["status"], resumed["status"]) == ("FAILED", "SUCCESSFUL")
    assert resumed["stats"]["start_time"] > failed["stats"]["start_time"]
    assert resumed["stats"]["end_time"] > failed["stats"]["end_time"]


def test_cancel_stops_a_workflow_and_it_can_be_resumed_on_request(flows, tmp_path):
    @ray.remote
    def patient():
        while not (tmp_path / "go").exists():
            workflow_context().check_canceled()
            time.sleep(0.02)
        return 7

    def workflow_context():
        from shoal import current_context

        return current_context()

    result = []
    thread = threading.Thread(target=lambda: result.append(failure_of(flows.run, patient.bind(), workflow_id="c")))
    thread.start()
    until(lambda: any(run == ("c", workflow.RUNNING) for run in flows.list_all()))
    flows.cancel("c")
    thread.join(10)
    assert isinstance(result[0], workflow.WorkflowCancellationError)
    assert flows.get_status("c") == workflow.CANCELED
    assert "end_time" not in flows.get_metadata("c")["stats"]
    flows.cancel("c")
    with pytest.raises(workflow.WorkflowCancellationError):
        flows.get_output("c")
    (tmp_path / "go").touch()
    assert flows.resume("c") == 7


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_metadata_of_workflows_and_tasks(flows):
    node = named(add, "add_task", metadata={"task_k": "task_v"}).bind(10, 20)
    assert flows.run(node, workflow_id="meta", metadata={"workflow_k": "workflow_v"}) == 30
    found = flows.get_metadata("meta")
    assert found["status"] == "SUCCESSFUL"
    assert found["user_metadata"] == {"workflow_k": "workflow_v"}
    assert set(found["stats"]) == {"start_time", "end_time"}
    task = flows.get_metadata("meta", task_id="add_task")
    assert (task["name"], task["user_metadata"]) == ("add_task", {"task_k": "task_v"})
    assert task["task_options"]["checkpoint"] is True
    assert set(task["stats"]) == {"start_time", "end_time"}
    with pytest.raises(ValueError, match="no task"):
        flows.get_metadata("meta", "other")
    with pytest.raises(ValueError, match="JSON"):
        flows.run(one.bind(), metadata={"k": object()})


def test_outputs_of_tasks(flows):
    inner = named(double, "inner").bind(1)
    flows.run(named(double, "out er/1").bind(inner), workflow_id="double")
    assert flows.get_output("double") == 4
    assert flows.get_output("double", task_id="inner") == 2
    assert flows.get_output("double", task_id="out er/1") == 4
    with pytest.raises(ValueError, match="without executing"):
        flows.get_output("double", task_id="never")
    flows.run(add.bind(add.bind(1, 1), add.bind(2, 2)), workflow_id="names")
    assert [flows.get_output("names", task_id=name) for name in ("add", "add_1", "add_2")] == [2, 4, 6]


def test_a_task_without_checkpoint_runs_and_its_value_is_not_stored(flows):
    node = double.bind(named(one, "loose", checkpoint=False).bind())
    assert flows.run(node, workflow_id="loose") == 2
    with pytest.raises(workflow.TaskNotFoundError, match="checkpoint=False"):
        flows.get_output("loose", task_id="loose")


def test_list_all_by_status(flows):
    flows.run(one.bind(), workflow_id="listed")
    assert isinstance(failure_of(flows.run, fail.bind(), workflow_id="listed-failed"), workflow.WorkflowExecutionError)
    for wanted in (workflow.SUCCESSFUL, "SUCCESSFUL", {"SUCCESSFUL"}, {workflow.SUCCESSFUL, "PENDING"}):
        found = flows.list_all(wanted)
        assert ("listed", workflow.SUCCESSFUL) in found
        assert all(status == "SUCCESSFUL" for _, status in found)
    assert ("listed-failed", "FAILED") in flows.list_all()
    with pytest.raises(TypeError, match="filter"):
        flows.list_all(3)
    with pytest.raises(ValueError, match="NOTHING"):
        flows.list_all("NOTHING")


def test_delete(flows):
    flows.run(one.bind(), workflow_id="gone")
    flows.delete("gone")
    for call in (flows.delete, flows.get_status, flows.resume, flows.get_output, flows.get_metadata, flows.cancel):
        with pytest.raises(workflow.exceptions.WorkflowNotFoundError):
            call("gone")
    assert flows.run(add.bind(2, 2), workflow_id="gone") == 4


def test_a_task_cannot_use_the_api(flows):
    @ray.remote
    def inside():
        return workflow.get_status("x")

    with pytest.raises(workflow.WorkflowExecutionError, match="continuation"):
        flows.run(inside.bind())


def test_init_says_the_same_or_nothing(flows):
    flows.init()
    with pytest.raises(ValueError, match="other values"):
        flows.init(max_running_workflows=7)
    with pytest.raises(ValueError, match="from 1 on"):
        flows.init(max_running_workflows=0)
    with pytest.raises(ValueError, match="executor"):
        flows.init(executor="thread")


# ---------------------------------------------------------------- events


def test_sleeps_and_timers_hold_nothing_and_have_no_value(flows):
    started = time.time()
    timer = flows.wait_for_event(flows.event_listener.TimerListener, time.time() + 0.3)
    assert flows.run(gather.bind(flows.sleep(0.1), timer, "hello")) == (None, None, "hello")
    assert 0.3 <= time.time() - started < 5
    assert flows.run(flows.wait_for_event(flows.event_listener.TimerListener, add.bind(1, 1))) is None, "a time that has passed"


class Topic(workflow.EventListener):
    async def poll_for_event(self, file, note):
        while not file.exists():  # noqa: ASYNC110 - it is a listener that polls
            await asyncio.sleep(0.02)
        return {"text": file.read_text(), "note": note}

    async def event_checkpointed(self, event):
        event["note"].write_text("checkpointed")


def test_a_listener_of_ones_own_is_told_once_its_event_is_recorded(flows, tmp_path):
    file, note = tmp_path / "event", tmp_path / "note"
    soon(lambda: file.write_text("now"))
    event = flows.run(flows.wait_for_event(Topic, file, note=note), workflow_id="topic")
    assert event == {"text": "now", "note": note}
    assert note.read_text() == "checkpointed"
    assert flows.get_output("topic", task_id="Topic") == event


def test_many_listeners_wait_at_once(flows, tmp_path):
    file = tmp_path / "event"
    nodes = [flows.wait_for_event(Topic, file, note=tmp_path / f"note{i}") for i in range(40)]
    soon(lambda: file.write_text("now"))
    assert len(flows.run(gather.bind(*nodes))) == 40


def test_only_listeners_are_waited_for(flows):
    with pytest.raises(TypeError, match="which is not a subclass"):
        flows.wait_for_event(dict)


def test_a_signal_reaches_one_run_and_an_early_one_is_kept_21725(flows):
    soon(lambda: flows.signal("sig", "go", {"by": "ana"}))
    assert flows.run(flows.wait_for_signal("go"), workflow_id="sig") == {"by": "ana"}

    def both():
        flows.signal("early", "b", 2)
        time.sleep(0.2)
        flows.signal("early", "a", 1)

    soon(both)

    @ray.remote
    def then(a):
        return workflow.continuation(gather.bind(a, workflow.wait_for_signal("b")))

    assert flows.run(then.bind(flows.wait_for_event(flows.event_listener.SignalListener, "a")), workflow_id="early") == (1, 2)
    with pytest.raises(ConflictError, match="has ended"):
        flows.signal("early", "a")
    with pytest.raises(workflow.WorkflowNotFoundError):
        flows.signal("nix", "a")
    with pytest.raises(workflow.WorkflowExecutionError, match="no signal"):
        flows.run(flows.wait_for_signal("never", timeout=0.1))


@pytest.fixture
def post(flows):
    endpoint = flows.serve_events(port=0, token=TOKEN)

    def send(path, body, token=TOKEN, method="POST"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(endpoint.address + path, data, {"Authorization": f"Bearer {token}"}, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    send.address = endpoint.address
    yield send
    endpoint.close()


def test_an_event_by_http_reaches_its_listener_also_before_it_listens(flows, post):
    event = {"event_key": "k", "event_payload": {"message": "hi"}}
    statuses = []
    soon(lambda: statuses.append(post("/event/send_event/http", event)))
    late = ray.remote(lambda _: workflow.continuation(workflow.wait_for_event(HTTPListener, event_key="k")))
    assert flows.run(late.bind(flows.sleep(0.5)), workflow_id="http") == ("k", {"message": "hi"})
    assert statuses == [200]
    assert post("/event/send_event/http", event) == 409
    assert post("/event/send_event/nix", event) == 404
    assert post("/event/send_event/http", {"event_key": "k"}) == 404
    assert post("/event/send_event/http", b"\x80\x04pickle") == 400
    assert post("/event/send_event/http", [1]) == 400
    assert post("/event/send_event/..%2Fx", event) == 404
    assert post("/event/send_event/http", event, token=TOKEN[1:]) == 401
    assert post("/event/send_event/http", event, method="PUT") == 405
    with socket.create_connection(("127.0.0.1", int(post.address.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(
            f"POST /event/send_event/http HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1048577\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(100)


def test_an_endpoint_for_others_needs_a_token(flows):
    with pytest.raises(ValueError, match="token"):
        flows.serve_events("0.0.0.0", 0)  # noqa: S104


# ---------------------------------------------------------------- more than there was


def test_a_map_has_a_value_for_each_item_and_a_limit(flows, tmp_path):
    @ray.remote
    def square(x):
        marks = tmp_path / f"{x}.running"
        marks.touch()
        together = len(list(tmp_path.glob("*.running")))
        time.sleep(0.02)
        marks.unlink()
        assert together <= 2
        return x * x

    @ray.remote
    def numbers(n):
        return list(range(n))

    assert flows.run(flows.map(square, numbers.bind(6), max_concurrency=2)) == [0, 1, 4, 9, 16, 25]
    assert flows.run(flows.map(double, flows.map(double, [1, 2.5, 1j]))) == [4, 10.0, 4j]
    assert flows.run(flows.map(double, [])) == []
    with pytest.raises(InvalidInputError, match="from 1 on"):
        flows.map(double, [1], max_concurrency=0)


def test_a_continuation_of_an_item_leaves_the_other_items_alone(flows):
    item = ray.remote(lambda x: workflow.continuation(double.bind(x)))
    outer = ray.remote(lambda: workflow.continuation(workflow.map(item, [1, 2, 3])))
    assert flows.run(outer.bind()) == [2, 4, 6]


def test_a_fork_begins_with_what_is_recorded_and_its_edits(flows, tmp_path):
    @ray.remote
    def noted(x):
        with (tmp_path / "log").open("a") as file:
            file.write("x")
        return x + 1

    node = named(noted, "c").bind(named(noted, "b").bind(named(noted, "a").bind(1)))
    assert flows.run(node, workflow_id="trunk") == 4
    assert flows.get_output(flows.fork("trunk", "c")) == 4
    assert len((tmp_path / "log").read_text()) == 4
    assert flows.get_output(flows.fork("trunk", "b", {"a": 100}, new_id="branch")) == 102
    assert len((tmp_path / "log").read_text()) == 6
    flows.delete("trunk")
    assert flows.get_output("branch") == 102
    with pytest.raises(ConflictError, match="already"):
        flows.fork("branch", "c", new_id="branch")
    with pytest.raises(workflow.TaskNotFoundError):
        flows.fork("branch", "z")
    with pytest.raises(InvalidInputError, match="runs anew"):
        flows.fork("branch", "a", {"b": 1})


def test_events_are_live(flows):
    async def names(workflow_id):
        return [event.name async for event in flows.events(workflow_id)]

    soon(lambda: flows.signal("live", "go"))
    threading.Thread(target=flows.run, args=(flows.wait_for_signal("go"),), kwargs={"workflow_id": "live"}).start()
    until(lambda: ("live", workflow.RUNNING) in flows.list_all())
    found = asyncio.run(names("live"))
    assert found[0] == "run.pending"
    assert found[-1] == "run.succeeded"


def test_the_calls_that_wait_have_twins(flows):
    async def main():
        assert await flows.aio.run(add.bind(1, 2), workflow_id="aio") == 3
        assert await flows.aio.resume("aio") == 3
        assert await flows.aio.get_output("aio", task_id="add") == 3
        await flows.aio.cancel("aio")

    asyncio.run(main())
