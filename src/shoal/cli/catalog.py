"""How the commands are listed and explained, and which are still to come."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

from typer.core import TyperCommand, TyperGroup

from shoal import __version__
from shoal.errors import UnsupportedError

NOT_YET = frozenset({"serve", "token", "schedules", "card", "peers", "handoff", "new"})
"""Commands that are spoken for, and that this version does not have."""

NOT_YET_OF: dict[str, frozenset[str]] = {"tools": frozenset()}


_WHOLE = 1000
"""Characters of a summary: it is never cut."""


class Command(TyperCommand):
    """A command whose plain parameters cost nothing to read."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        _spare_pydantic(self.get_params(ctx))
        return super().parse_args(ctx, args)


class Commands(TyperGroup):
    """A group that lists its commands by subject, and answers for those to come.

    The help is click's plain one: rich's takes twice as long to load as all the rest.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments up to the command."""
        _spare_pydantic(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each subject."""
        sections: dict[str, list[Any]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            sections.setdefault(command.rich_help_panel or "Commands", []).append(command)
        width = max(len(command.name) for group in sections.values() for command in group)
        for title, commands in sections.items():
            with formatter.section(title):
                formatter.write_dl([(c.name.ljust(width), c.get_short_help_str(_WHOLE)) for c in commands])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name; refuse those that this version does not have."""
        to_come = NOT_YET if ctx.parent is None else NOT_YET_OF.get(self.name or "", frozenset[str]())
        if args and args[0] in to_come:
            raise UnsupportedError(
                f"`{ctx.command_path} {args[0]}` is not in this version ({__version__})",
                hint=f"`{ctx.command_path} --help` lists what there is",
            )
        return super().resolve_command(ctx, args)


def help_of(command: Callable[..., object]) -> str:
    """Return a command's docstring as click wants it: prose to be wrapped, examples (what is indented) kept as they are."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    # A line of "\b" keeps click from wrapping the paragraph under it.
    return "\n\n".join(f"\b\n{text}" if "\n    " in f"\n{text}" else text for text in paragraphs)


class _TextAsItIs:
    """Reads a parameter: text and lists of text as they are, anything else as typer does."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value of a parameter from the text that was given, or from its default."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        annotation = param.type_descriptor.annotation
        if annotation is str and isinstance(value, str):
            return value
        if many and annotation == list[str] and isinstance(value, tuple | list):
            return list(cast("list[str]", value))
        param._runtime_param = None  # noqa: SLF001 - see `_spare_pydantic`
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _spare_pydantic(parameters: Sequence[Any]) -> None:
    """Keep typer from loading all of pydantic to read a piece of text.

    For every parameter typer 0.29 builds a pydantic adapter, even where no value is given; that takes more time than
    `validate` takes for all the rest. It keeps the adapter in an attribute, which is set here first. Should that attribute go,
    commands are slower and otherwise the same; a test of what is loaded tells.
    """
    for parameter in parameters:
        if getattr(parameter, "_runtime_param", 0) is None:
            parameter._runtime_param = _TextAsItIs()  # noqa: SLF001
