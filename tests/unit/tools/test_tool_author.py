"""The author's face: the decorator, schemas, the context and continuations, as a tool package's own tests use them."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from shoal.errors import NonRetryableError, NotFoundError, RunCanceledError
from shoal.tools import MoreWork, ToolContext, continuation, current_context, declaration_of, tool


@tool
def add(a: int, b: Annotated[int, Field(gt=0)] = 1, *, ctx: ToolContext | None = None) -> int:
    """Add two
    numbers.

    More text.
    """
    return a + b


class Request(BaseModel):
    url: str


def test_a_declared_function_is_still_a_function():
    assert add(1, 2) == 3
    assert add("x", "y") == "xy"
    declared = declaration_of(add)
    assert (declared.name, declared.description) == ("add", "Add two numbers.")
    assert declaration_of(len) is None


def test_the_schema_is_made_from_the_signature():
    assert declaration_of(add).input_schema() == {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer", "exclusiveMinimum": 0, "default": 1},
        },
        "required": ["a"],
        "additionalProperties": False,
    }


def test_a_schema_name_and_description_can_be_given():
    @tool(name="Fetch", description="Gets it", schema={"type": "object"})
    async def fetch(**kwargs):
        return kwargs

    declared = declaration_of(fetch)
    assert (declared.name, declared.description, declared.input_schema()) == ("Fetch", "Gets it", {"type": "object"})


def test_models_and_unknown_types_have_schemas_too():
    @tool
    def whole(request: Request):
        return request

    @tool
    def parts(request: list[Request], thing: object, odd: "not_defined", rest=None, **more):  # noqa: F821
        return request

    assert declaration_of(whole).input_schema()["properties"] == {"url": {"title": "Url", "type": "string"}}
    schema = declaration_of(parts).input_schema()
    assert schema["properties"]["request"]["items"] == {"$ref": "#/$defs/Request"}
    assert schema["properties"]["rest"] == {"default": None}
    assert "Request" in schema["$defs"]
    assert schema["additionalProperties"] is True


def test_a_context_can_be_made_by_hand():
    told = []
    context = ToolContext(run_id="r", step="s", attempt=3, report=told.append, cancel_requested=lambda: True)
    context.progress(1, 2, "half")
    assert (told[0].done, told[0].total, told[0].note) == (1.0, 2.0, "half")
    assert context.idempotency_key == "r:s"
    assert context.canceled
    assert context.remaining is None
    with pytest.raises(RunCanceledError):
        context.check_canceled()
    ToolContext().check_canceled()
    ToolContext().progress(1)


def test_there_is_no_current_context_outside_of_a_tool():
    with pytest.raises(NotFoundError):
        current_context()


def test_a_continuation_says_what_it_takes():
    assert continuation("a:b", {"n": 1}, requirements=["x"]) == MoreWork("a:b", {"n": 1}, ("x",))
    for arguments, more in (
        ((len,), {}),
        (("a", {1: 2}), {}),
        (("a",), {"requirements": "x"}),
        (({},), {"requirements": ["x"]}),
    ):
        with pytest.raises(NonRetryableError):
            continuation(*arguments, **more)
