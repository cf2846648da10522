"""The optional decorator of tools: name, description and schema.

Owns what an author declares. A declared function stays the same function: it is called, tested and imported as before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, overload

from shoal.model.values import Json

_ATTRIBUTE: Final = "__shoal_tool__"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """What an author says of a tool.

    Attributes:
        name: For people; the distribution's name or the reference is what a workflow names.
        description: For people.
        schema: JSON Schema of the inputs, if the author gave one; None: made from the signature on first use.
    """

    name: str
    description: str
    function: Callable[..., Any] = field(repr=False)
    schema: Mapping[str, Json] | None = None

    def input_schema(self) -> dict[str, Json]:
        """Return the JSON Schema of the inputs; loads pydantic if the author gave none."""
        if self.schema is not None:
            return dict(self.schema)
        from shoal.tools.schema import schema_of

        return schema_of(self.function)


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, schema: Mapping[str, Json] | None = None
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    schema: Mapping[str, Json] | None = None,
) -> F | Callable[[F], F]:
    """Declare a function, sync or async, as a tool. Optional: any function can be a tool.

    The inputs of a declared tool are checked against its annotations, and converted where that loses nothing, before it is
    called from a workflow; called from Python it is the plain function that it was.

    Args:
        function: The function, when used without parentheses.
        name: Default: the function's name.
        description: Default: the first paragraph of its docstring.
        schema: JSON Schema of the inputs. Default: made from the signature.
    """

    def declare(target: F) -> F:
        text = inspect.getdoc(target) or ""
        declared = ToolDeclaration(
            name or getattr(target, "__name__", type(target).__name__),
            description if description is not None else text.partition("\n\n")[0].replace("\n", " "),
            target,
            schema,
        )
        setattr(target, _ATTRIBUTE, declared)
        return target

    return declare if function is None else declare(function)


def declaration_of(function: object) -> ToolDeclaration | None:
    """Return what an author declared of a function; None for a function without `@tool`."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, ToolDeclaration) else None
