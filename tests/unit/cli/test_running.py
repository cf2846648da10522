"""run, resume, retry: what they print, and the exit status."""

import json

import pytest
from cli_world import RUN, View, run, step, views, workflow

from shoal.errors import (
    ConflictError,
    IndexUnavailableError,
    MissingSecretError,
    NotFoundError,
    RayUnavailableError,
    RunAlreadyExistsError,
    StepFailedError,
    StoreUnavailableError,
)


def failed_view():
    error = StepFailedError(
        "step measure failed: ValueError: no lines",
        step="measure",
        exception="ValueError",
        traceback='Traceback (most recent call last):\n  File "measure.py", line 3, in measure\nValueError: no lines\n',
    )
    steps = (
        step("fetch"),
        step("measure", "failed", error=error, attempts=5),
        step("report", "skipped", skip_reason="not_reached"),
    )
    return View(run("failed", error=error), workflow(), steps)


def test_outputs_are_lines_on_stdout_in_their_declared_order_and_progress_is_on_stderr(world, answer_file, shoal):
    status, out, err = shoal("run", answer_file)
    assert status == 0
    assert out == 'report: report.md\nlines: 1200\ntop: {"a": [1, "ü"]}\n'
    assert "step fetch succeeded" in err
    assert f"run {RUN} succeeded" in err


def test_json_is_one_object_on_stdout(world, answer_file, shoal):
    status, out, _ = shoal("run", answer_file, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["status"] == "succeeded"
    assert found["outputs"]["top"] == {"a": [1, "ü"]}


def test_inputs_come_from_assignments_before_the_file(world, answer_file, shoal, tmp_path):
    (tmp_path / "in.yaml").write_text("question: from the file\ncount: 3\n")
    status, _, _ = shoal("run", answer_file, "--inputs", tmp_path / "in.yaml", "-i", "question=1.50")
    assert status == 0
    (_, (_, inputs), _) = next(c for c in world.calls if c[0] == "start")
    assert inputs == {"question": "1.50", "count": 3}


def test_an_unknown_input_is_refused_before_anything_is_opened(world, answer_file, shoal):
    status, out, err = shoal("run", answer_file, "-i", "qestion=x")
    assert status == 2
    assert out == ""
    assert "qestion" in err
    assert "hint:" in err
    assert world.calls == []


def test_an_input_of_the_wrong_type_is_refused_before_anything_is_opened(world, answer_file, shoal):
    status, _, err = shoal("run", answer_file, "-i", "count=many")
    assert status == 2
    assert "count" in err
    assert world.calls == []


def test_a_bad_definition_is_refused_with_place_and_hint(world, answer_file, shoal):
    answer_file.write_text(answer_file.read_text().replace("tool:", "tol:"))
    status, out, err = shoal("run", answer_file, "--json")
    assert status == 2
    problem = json.loads(out)["error"]["problems"][0]
    assert set(problem) == {"file", "line", "column", "message", "hint"}
    assert problem["line"] == 6
    assert problem["file"] == str(answer_file)
    assert f"{answer_file}:6:5" in err
    assert world.calls == []


def test_a_missing_file_and_an_unknown_id_are_bad_usage(world, answer_file, shoal):
    assert shoal("run", "nowhere.yaml")[0] == 2
    status, _, err = shoal("run", "no-such-workflow")
    assert status == 2
    assert "no-such-workflow" in err


def test_an_id_is_found_in_the_workflows_folder(world, answer_file, shoal):
    folder = answer_file.parent / "workflows" / "deep"
    folder.mkdir(parents=True)
    answer_file.rename(folder / "other-name.yaml")
    assert shoal("run", "answer")[0] == 0
    assert world.calls[1][1][0] == "answer"


def test_a_failed_run_exits_1_with_the_tools_traceback_and_the_way_on(world, answer_file, shoal):
    world.views = [failed_view()]
    status, out, err = shoal("run", answer_file)
    assert status == 1
    assert out == ""
    assert 'File "measure.py", line 3' in err
    assert f"shoal resume {RUN}" in err
    assert f"shoal logs {RUN}" in err


def test_a_failed_run_in_json_names_its_error(world, answer_file, shoal):
    world.views = [failed_view()]
    status, out, _ = shoal("run", answer_file, "--json")
    assert status == 1
    found = json.loads(out)
    assert found["error"]["code"] == "step_failed"
    assert [s["status"] for s in found["steps"]] == ["succeeded", "failed", "skipped"]


def test_a_canceled_run_exits_1(world, answer_file, shoal):
    world.views = [View(run("canceled"), workflow(), ())]
    assert shoal("run", answer_file)[0] == 1


@pytest.mark.parametrize("code", [IndexUnavailableError, StoreUnavailableError])
def test_the_status_follows_the_run_once_it_has_ended_even_if_its_error_has_another_code(world, answer_file, shoal, code):
    world.views = [View(run("failed", error=code("gone")), workflow(), ())]
    assert shoal("run", answer_file)[0] == 1


def test_an_error_while_closing_does_not_change_the_status(world, answer_file, shoal):
    world.close_error = RayUnavailableError("Ray did not stop")
    status, out, err = shoal("run", answer_file)
    assert status == 0
    assert out.startswith("report:")
    assert "Ray did not stop" in err


def test_a_missing_secret_is_an_error_of_the_run(world, answer_file, shoal):
    world.views = [View(run("failed", error=MissingSecretError("secret TOKEN is not provided", hint="set it")), workflow(), ())]
    status, _, err = shoal("run", answer_file)
    assert status == 1
    assert "TOKEN" in err
    assert "hint: set it" in err


def test_unavailable_infrastructure_exits_3_and_says_how_to_go_on(world, answer_file, shoal):
    world.late_error = StoreUnavailableError("the disk is full", hint="make room")
    world.views = world.views[:1]
    status, out, err = shoal("run", answer_file, "--json")
    assert status == 3
    assert json.loads(out)["run_id"] == RUN
    assert json.loads(out)["error"]["code"] == "store_unavailable"
    assert f"shoal resume {RUN}" in err


def test_a_run_that_nobody_drives_any_more_exits_3(world, answer_file, shoal):
    world.views = [View(run("running", live=False), workflow(), ())]
    status, _, err = shoal("run", answer_file)
    assert status == 3
    assert f"shoal resume {RUN}" in err


def test_another_run_of_that_id_is_a_conflict(world, answer_file, shoal):
    world.raises["start"] = RunAlreadyExistsError("run x exists with other inputs")
    status, out, err = shoal("run", answer_file, "--run-id", "x", "--json")
    assert status == 4
    assert json.loads(out)["error"]["code"] == "run_exists"
    assert "other inputs" in err


def test_a_run_id_that_cannot_be_one_is_refused(world, answer_file, shoal):
    assert shoal("run", answer_file, "--run-id", "../x")[0] == 2
    assert world.calls == []


def test_run_id_and_executor_reach_the_client_and_an_id_is_made_if_none_is_given(world, answer_file, shoal):
    shoal("run", answer_file, "--run-id", "nightly-1", "--executor", "inline")
    shoal("run", answer_file)
    first, second = (c[2] for c in world.calls if c[0] == "start")
    assert first == {"run_id": "nightly-1", "executor": "inline", "detach": False}
    assert second["executor"] is None
    assert len(second["run_id"]) == 20


def test_detach_prints_the_id_and_does_not_wait(world, answer_file, shoal):
    world.keep_id = False
    status, out, _ = shoal("run", answer_file, "--detach", "--run-id", "nightly-1")
    assert (status, out) == (0, "nightly-1\n")
    assert next(c for c in world.calls if c[0] == "start")[2]["detach"] is True
    assert json.loads(shoal("run", answer_file, "--detach", "--json")[1])["run_id"]


def test_resume_keeps_the_id_and_passes_the_flag(world, shoal):
    status, out, _ = shoal("resume", "some-run", "--accept-tool-change", "--json")
    assert status == 0
    assert json.loads(out)["run_id"] == "some-run"
    assert ("resume", ("some-run",), {"accept_tool_change": True}) in world.calls


def test_resume_of_an_unknown_run_is_bad_usage_and_of_a_finished_one_a_conflict(world, shoal):
    world.raises["resume"] = NotFoundError("there is no run x")
    assert shoal("resume", "x")[0] == 2
    world.raises["resume"] = ConflictError("run x has succeeded")
    assert shoal("resume", "x")[0] == 4


def test_retry_says_the_new_id_at_once(world, shoal):
    status, out, err = shoal("retry", "old-run")
    assert status == 0
    assert err.startswith(f"run {RUN}\n")
    assert out.startswith("report:")


def test_fork_says_the_new_id_at_once_and_hands_inputs_on(world, shoal):
    status, out, err = shoal("fork", "old-run", "--from", "report", "-i", "question=why")
    assert status == 0
    assert err.startswith(f"run {RUN}\n")
    assert out.startswith("report:")
    assert ("fork", ("old-run", "report"), {"inputs": {"question": "why"}}) in world.calls


def test_a_fork_that_cannot_be_is_refused_with_its_status(world, shoal):
    assert shoal("fork", "old-run")[0] == 2, "a step is needed"
    assert shoal("fork", "old-run", "--from", "report", "-i", "qestion=x")[0] == 2
    world.raises["fork"] = ConflictError("step report needs measure, of which the run has no result")
    assert shoal("fork", "old-run", "--from", "report")[0] == 4


def test_outputs_with_terminal_sequences_are_passed_on_to_a_pipe_as_they_are(world, answer_file, shoal):
    last = views()[-1]
    world.views = [View(last.run, last.workflow, last.steps, outputs={"x": "a\x1b[31mb", "n": None})]
    assert shoal("run", answer_file)[1] == "x: a\x1b[31mb\nn: null\n"
