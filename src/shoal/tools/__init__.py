"""The tool author's face: declare a tool, ask for its context, answer with more work.

Light on purpose: a tool package that imports this loads neither Ray nor pydantic. What finds and calls tools is imported from
its own module: `shoal.tools.invoker`, `shoal.tools.resolver`.
"""

from shoal.tools.context import ToolContext, current_context
from shoal.tools.continuation import MoreWork, continuation
from shoal.tools.declaration import ToolDeclaration, declaration_of, tool

__all__ = [
    "MoreWork",
    "ToolContext",
    "ToolDeclaration",
    "continuation",
    "current_context",
    "declaration_of",
    "tool",
]
