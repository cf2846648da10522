"""The JSON of a run: its shape is stable."""

import json

import jsonschema
import pytest
from cli_world import START, View, run, step, views, workflow

from shoal.cli.view import run_to_json
from shoal.errors import StepFailedError
from shoal.model.ids import RunId, StepPath
from shoal.model.run import ItemCounts

TIME = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
ERROR = {
    "type": ["object", "null"],
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}
COUNT = {"type": "integer", "minimum": 0}
ITEMS = ("total", "succeeded", "failed", "skipped", "canceled")
STEP = {
    "type": "object",
    "required": ["name", "status", "attempts", "started_at", "finished_at", "error"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "status": {"enum": ["pending", "running", "waiting", "succeeded", "failed", "skipped", "canceled"]},
        "attempts": COUNT,
        "started_at": TIME,
        "finished_at": TIME,
        "error": ERROR,
        "items": {"type": "object", "required": list(ITEMS), "additionalProperties": False, "properties": dict.fromkeys(ITEMS, COUNT)},
        "spawned": COUNT,
        "child_run_id": {"type": "string"},
    },
}  # fmt: skip
RUN_SCHEMA = {
    "type": "object",
    "required": ["run_id", "workflow", "status", "outputs", "error", "steps"],
    "additionalProperties": False,
    "properties": {
        "run_id": {"type": "string"},
        "workflow": {"type": "string"},
        "status": {"enum": ["pending", "running", "waiting", "resumable", "succeeded", "failed", "canceled"]},
        "outputs": {"type": ["object", "null"]},
        "error": ERROR,
        "steps": {"type": "array", "items": STEP},
    },
}


def rich_view():
    error = StepFailedError("it broke", step="b", traceback="...")
    return View(
        run("failed", error=error),
        workflow(),
        (
            step("a", items=ItemCounts(3, 1, 1, 1)),
            step("b", "failed", error=error),
            step("c", spawned=7, child_run_id=RunId("child")),
            step("d", "pending"),
            step("x", path="c/0", scope=StepPath("c")),
        ),
    )


@pytest.mark.parametrize("view", [*views(), rich_view()], ids=["beginning", "half", "end", "rich"])
def test_the_json_of_a_run_keeps_its_schema(view):
    found = run_to_json(view)
    jsonschema.validate(json.loads(json.dumps(found)), RUN_SCHEMA)


def test_steps_are_those_of_the_definition_in_its_order():
    assert [s["name"] for s in run_to_json(rich_view())["steps"]] == ["a", "b", "c", "d"]


def test_of_a_finally_step_entered_again_the_last_entry_is_shown():
    view = View(run(), workflow(), (step("clean", "failed"), step("clean", path="clean#2", entry=2)))
    assert [s["status"] for s in run_to_json(view)["steps"]] == ["succeeded"]


def test_a_run_that_nobody_drives_is_resumable():
    assert run_to_json(View(run("waiting", live=False), workflow(), ()))["status"] == "resumable"


def test_times_are_utc():
    assert run_to_json(views()[-1])["steps"][0]["started_at"] == "2026-11-23T12:00:00.000Z"
    assert START.isoformat() == "2026-11-23T12:00:00+00:00"
