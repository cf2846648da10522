"""The way in: help, usage, what is to come, unexpected errors."""

import json

import pytest

from shoal import __version__
from shoal.cli.app import app
from shoal.cli.catalog import NOT_YET
from shoal.errors import registered_errors

COMMANDS = [
    "run", "resume", "retry", "fork", "cancel", "signal", "runs", "show", "logs", "graph", "delete", "prune", "validate",
    "schema", "tools", "doctor", "up", "down",
]  # fmt: skip


def test_version(shoal):
    assert shoal("--version")[:2] == (0, f"shoal {__version__}\n")


def test_help_lists_every_command_and_nothing_that_is_to_come(shoal):
    status, out, _ = shoal("--help")
    assert status == 0
    words = {line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "}
    assert set(COMMANDS) <= words
    assert not NOT_YET & words


@pytest.mark.parametrize("command", [*COMMANDS, "tools list"])
def test_help_of_a_command_has_an_example(shoal, command):
    status, out, _ = shoal(*command.split(), "--help")
    assert status == 0
    if command != "tools":
        assert "Example" in out
        assert f"\n      shoal {command}" in out.split("Example")[1]


@pytest.mark.parametrize("command", sorted(NOT_YET))
def test_what_is_to_come_is_refused_as_not_in_this_version(shoal, command):
    status, out, err = shoal(*command.split(), "x", "--json")
    assert status == 2
    assert "not in this version" in err
    assert json.loads(out)["error"]["code"] == "unsupported"


@pytest.mark.parametrize(
    "args", [["rnu"], ["run"], ["run", "--nope"], ["runs", "--limit", "x"], ["graph", "a", "--format", "png"]]
)
def test_wrong_usage_exits_2_without_a_traceback(shoal, args):
    status, out, err = shoal(*args)
    assert (status, out) == (2, "")
    assert "Usage" in err
    assert "--help" in err
    assert "Traceback" not in err
    assert json.loads(shoal(*args, "--json")[1])["error"]["code"] == "usage"


def test_no_arguments_show_the_help(shoal):
    status, out, err = shoal()
    assert status == 2
    assert "resume" in out + err


@pytest.mark.parametrize("code", sorted(registered_errors()))
def test_every_error_has_its_exit_status_and_text(world, shoal, code):
    cls = registered_errors()[code]
    world.raises["show"] = cls("it broke\nbadly", hint="mend it")
    status, out, err = shoal("show", "x", "--json")
    assert status == cls.exit_status
    assert json.loads(out)["error"]["code"] == code
    assert "it broke" in err
    assert "Traceback" not in err


def test_an_unexpected_exception_is_one_line_and_a_way_to_report_it(world, shoal):
    world.raises["show"] = KeyError("x")
    status, out, err = shoal("show", "x")
    assert status == 1
    assert "KeyError" in err
    assert "shoal doctor" in err
    assert "SHOAL_LOG_LEVEL=debug" in err
    assert "Traceback" not in err + out


def test_the_traceback_is_there_on_request(world, shoal, monkeypatch):
    monkeypatch.setenv("SHOAL_LOG_LEVEL", "debug")
    world.raises["show"] = KeyError("x")
    assert "Traceback" in shoal("show", "x")[2]


def test_terminal_sequences_in_an_error_do_not_reach_the_terminal(world, shoal):
    world.raises["show"] = registered_errors()["not_found"]("no \x1b]0;evil\x07run \x1b[31mx")
    assert shoal("show", "x")[2] == "shoal: no run x\n"


def test_the_app_has_exactly_the_commands_of_the_contract():
    names = [c.name or c.callback.__name__ for c in app.registered_commands] + ["tools"]
    assert sorted(names) == sorted(COMMANDS)
