"""Sessions: limits, ends and successors, without Ray."""

from __future__ import annotations

import queue
import threading
import time

import pytest
import ray

from shoal import workflow


@ray.remote
def one():
    return 1


def failure_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001
        return error
    return None


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_session():
    workflow.shutdown()
    yield
    workflow.shutdown()


def test_a_queue_limits_running_and_waiting_workflows(tmp_path):
    workflow.init(executor="inline", home=str(tmp_path), max_running_workflows=1, max_pending_workflows=1)
    runs = [
        threading.Thread(target=workflow.run, args=(workflow.wait_for_signal("go"),), kwargs={"workflow_id": f"q{i}"})
        for i in range(2)
    ]
    for number, run in enumerate(runs):
        run.start()
        until(lambda number=number: len(workflow.list_all()) == number + 1)
    until(lambda: workflow.list_all() == [("q0", workflow.RUNNING), ("q1", workflow.PENDING)])
    with pytest.raises(queue.Full, match="has been full"):
        workflow.run(one.bind())
    with pytest.raises(workflow.WorkflowStillActiveError):
        workflow.delete("q1")
    workflow.signal("q0", "go")
    until(lambda: workflow.get_status("q1") == workflow.RUNNING)
    workflow.signal("q1", "go")
    for run in runs:
        run.join(10)
    assert workflow.list_all("SUCCESSFUL") == [("q0", workflow.SUCCESSFUL), ("q1", workflow.SUCCESSFUL)]


def test_what_a_session_drove_is_resumable_and_another_one_resumes_it(tmp_path):
    workflow.init(executor="inline", home=str(tmp_path))
    begun = threading.Thread(
        target=failure_of, args=(workflow.run, workflow.wait_for_signal("go")), kwargs={"workflow_id": "r"}
    )
    begun.start()
    until(lambda: workflow.list_all() == [("r", workflow.RUNNING)])
    workflow.shutdown()
    workflow.init(executor="inline", home=str(tmp_path))
    assert workflow.list_all() == [("r", workflow.RESUMABLE)]
    workflow.signal("r", "go", 5)
    assert workflow.resume("r") == 5
    begun.join(10)
