"""The JSON forms of the model."""

from datetime import UTC, datetime, timedelta

import pytest

from shoal.errors import StepFailedError
from shoal.model.ids import StepName, StepPath, WorkflowId
from shoal.model.run import RunSpec, StepRecord, StepStatus
from shoal.model.serial import from_json, to_json
from shoal.model.tools import ToolReference
from shoal.model.values import Arguments, SecretName, SecretText, Value
from shoal.model.workflow import CallTool, Constant, ListOf, MapOf, Recorded, Reference, RunWorkflow, Step, Text, Workflow

STEP = Step(
    StepName("x"),
    CallTool(ToolReference("t", "builtin", "t"), ("six",)),
    inputs=(
        ("k", MapOf((("z", Text((Constant("a"), Reference(("inputs", "q"), ("r", 0))))),))),
        ("l", ListOf((Constant({"kind": "text"}), Recorded(Value("json", 1, b"1"))))),
        ("s", Recorded(SecretText(("a", SecretName("B"))))),
    ),
    timeout=timedelta(seconds=3),
)
FLOW = Workflow(WorkflowId("a"), (STEP, Step(StepName("y"), RunWorkflow(Workflow(WorkflowId("b"), (STEP,))))))


@pytest.mark.parametrize(
    "value",
    [
        FLOW,
        RunSpec(
            FLOW, Arguments({"a": None}, ((("a",), Value("pickle", 3, b"abc", type_name="m.T")),)), {"c": [1, {"d": None}]}
        ),
        StepRecord(
            StepPath("x"),
            StepName("x"),
            StepStatus.FAILED,
            result={"a": Value("json", 5, b'"{{}"')},
            error=StepFailedError("no", exception="E"),
            wake_at=datetime(2026, 1, 2, tzinfo=UTC),
        ),
    ],
)
def test_round_trip(value):
    again = from_json(type(value), to_json(value))
    assert to_json(again) == to_json(value)
    if not isinstance(value, StepRecord):  # errors compare by identity
        assert again == value


def test_defaults_are_left_out_and_unknown_fields_ignored():
    data = to_json(STEP)
    assert "foreach" not in data
    assert from_json(Step, data | {"later": 1}) == STEP


def test_wrong_form_is_a_value_error():
    with pytest.raises(ValueError, match="Workflow"):
        from_json(Workflow, {"id": "a"})


def test_an_optional_class_with_a_field_called_kind_comes_back_as_itself():
    from shoal.model.ids import Digest
    from shoal.model.tools import EnvironmentLock, ToolLock, ToolReference, ToolRequest

    request = ToolRequest(ToolReference("f", "function", "m:f"))
    lock = ToolLock(request, "function", "m:f", environment=EnvironmentLock(Digest("e" * 64), "overlay", ()))
    assert from_json(ToolLock, to_json(lock)) == lock
