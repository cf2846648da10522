"""cancel, signal, delete, prune."""

import json
from datetime import timedelta

import pytest
from cli_world import RUN

from shoal.cli import acting
from shoal.errors import ConflictError, NotFoundError


def test_cancel_reaches_the_run(world, shoal):
    assert shoal("cancel", RUN)[:2] == (0, "")
    assert ("cancel", (RUN,), {}) in world.calls


@pytest.mark.parametrize(("error", "status"), [(NotFoundError("no run"), 2), (ConflictError("it has ended"), 4)])
def test_cancel_of_what_cannot_be_canceled(world, shoal, error, status):
    world.raises["cancel"] = error
    found, out, err = shoal("cancel", "x")
    assert (found, out) == (status, "")
    assert error.message in err


@pytest.mark.parametrize(
    ("data", "payload"), [(None, None), ('{"by": "ana"}', {"by": "ana"}), ("3", 3), ('"yes"', "yes"), ("null", None)]
)
def test_signal_carries_json(world, shoal, data, payload):
    assert shoal("signal", RUN, "approved", *(["-d", data] if data else []))[0] == 0
    assert ("signal", (RUN, "approved", payload), {}) in world.calls


@pytest.mark.parametrize("data", ["yes", "{", "NaN", "[Infinity]", "", '{"a": 1, "a": 2}', "[" * 100_000])
def test_what_is_no_json_is_refused_before_anything_is_opened(world, shoal, data):
    status, _, err = shoal("signal", RUN, "approved", "-d", data)
    assert status == 2
    assert "-d" in err
    assert world.calls == []


def test_delete_does_not_ask_without_a_person(world, shoal):
    assert shoal("delete", RUN)[0] == 0
    assert ("delete", (RUN,), {}) in world.calls


@pytest.mark.parametrize(("answer", "deleted"), [(True, True), (False, False)])
def test_delete_asks_a_person(world, shoal, monkeypatch, answer, deleted):
    monkeypatch.setattr(acting, "asks", lambda: True)
    monkeypatch.setattr(acting.typer, "confirm", lambda *a, **k: answer)
    assert shoal("delete", RUN)[0] == 0
    assert any(c[0] == "delete" for c in world.calls) is deleted


def test_yes_is_not_asked(world, shoal, monkeypatch):
    monkeypatch.setattr(acting, "asks", lambda: True)
    monkeypatch.setattr(acting.typer, "confirm", lambda *a, **k: pytest.fail("asked"))
    assert shoal("delete", RUN, "--yes")[0] == 0


def test_prune_passes_age_and_number(world, shoal):
    status, out, err = shoal("prune", "--older-than", "30d", "--keep", "10", "--dry-run")
    assert status == 0
    assert out == f"{RUN}\n"
    assert "would be deleted" in err
    assert "5.0 MiB" in err
    assert ("prune", (), {"older_than": timedelta(days=30), "keep": 10, "dry_run": True}) in world.calls


def test_prune_in_json(world, shoal):
    found = json.loads(shoal("prune", "--keep", "0", "--json")[1])
    assert found["runs"] == [RUN]
    assert found["bytes"] == 5 * 1024 * 1024
    assert found["dry_run"] is False


@pytest.mark.parametrize("args", [[], ["--older-than", "soon"], ["--older-than", "30"], ["--keep", "-1"]])
def test_prune_refuses_what_it_does_not_understand(world, shoal, args):
    assert shoal("prune", *args)[0] == 2
    assert world.calls == []


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("cancel", RUN), {"run_id": RUN, "status": "succeeded"}),
        (("signal", RUN, "approved"), {"run_id": RUN, "signal": "approved"}),
        (("delete", RUN), {"run_id": RUN, "deleted": True}),
    ],
)
def test_what_acts_on_a_run_prints_one_object(world, shoal, command, answer):
    status, out, _ = shoal(*command, "--json")
    assert (status, json.loads(out)) == (0, answer)
    world.raises[command[0]] = NotFoundError("there is no run x")
    status, out, _ = shoal(*command, "--json")
    assert (status, json.loads(out)["error"]["code"]) == (2, "not_found")


def test_a_deletion_that_is_declined_says_so_in_json(world, shoal, monkeypatch):
    monkeypatch.setattr(acting, "asks", lambda: True)
    monkeypatch.setattr(acting.typer, "confirm", lambda *a, **k: False)
    assert json.loads(shoal("delete", RUN, "--json")[1]) == {"run_id": RUN, "deleted": False}
