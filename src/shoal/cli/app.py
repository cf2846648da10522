"""The `shoal` command: what there is, and the way in.

Owns the list of commands and the entry point. What a command does is in the module that is named after its subject.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from shoal import __version__
from shoal.cli import acting, host, looking, running, writing
from shoal.cli.catalog import Command, Commands, help_of
from shoal.cli.failures import INTERRUPTED, report
from shoal.cli.terminal import ReaderGoneError, emit, emit_json, note, prepare


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"shoal {__version__}")
        raise typer.Exit(0)


app = typer.Typer(
    cls=Commands,
    name="shoal",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def shoal(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Durable YAML workflows on Ray: every result is recorded, and a run survives any crash.

    A first run, without Ray:

        shoal run workflow.yaml -i question="six by nine" --executor inline

    Exit status: 0 succeeded, 1 the run failed or was canceled, 2 bad usage or a bad definition, 3 the journal or Ray is
    unavailable, 4 not possible in this state, 130 interrupted (the run can be resumed).

    SHOAL_HOME holds the journal, results, logs and environments; SHOAL_RAY_ADDRESS attaches to a Ray cluster.
    """


def _add(panel: str, *commands: Callable[..., int]) -> None:
    for command in commands:
        app.command(cls=Command, rich_help_panel=panel, help=help_of(command))(command)


_add("Run", running.run, running.resume, running.retry, running.fork, acting.cancel, acting.signal)
_add("Look", looking.runs, looking.show, looking.logs, looking.graph)
_add("Clean up", acting.delete, acting.prune)
_add("Write", writing.validate, writing.schema)
app.add_typer(writing.tools, rich_help_panel="Write", cls=Commands)
_add("This machine", host.up, host.down, host.doctor)

app.callback(help=help_of(shoal))(shoal)


def main(args: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit status; never raises, never prints a traceback unasked.

    Args:
        args: The arguments; None: those of the process.
    """
    given = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in given
    prepare()
    try:
        status = app(given, prog_name="shoal", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except ReaderGoneError:
        return 0
    except (KeyboardInterrupt, typer.Abort):
        note("Interrupted.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the user gets a line and not a traceback
        usage = usage_text(error)
        if usage is None:
            return report(error, as_json=as_json)
        if as_json and usage:
            emit_json({"error": {"code": "usage", "message": str(error)}})
        note(usage)
        return 2
    return status if isinstance(status, int) else 0


def usage_text(error: Exception) -> str | None:
    """Return what to say of a wrong use of the command line; None if the error is no such thing.

    Typer carries its own copy of click, whose exceptions it does not export: they are known by what they have.
    """
    context: Any = getattr(error, "ctx", None)
    if not isinstance(error, typer.TyperException):
        return None
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError" or context is None:
        return message
    return f"{context.get_usage()}\nshoal: {message}\n  hint: see `{context.command_path} --help`"
