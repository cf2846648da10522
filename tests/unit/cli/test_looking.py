"""runs, show, logs, graph, validate, schema, tools list, doctor, up and down: over the fake client."""

import json
from types import SimpleNamespace

import pytest
from cli_world import RUN, START, json_value, step

from shoal.daemon_file import DaemonInfo
from shoal.errors import NotFoundError, StoreUnavailableError
from shoal.model.ids import AttemptId, StepPath
from shoal.model.run import AttemptRecord, RunStatus
from shoal.ports import LogChunk


def test_runs_lists_the_shown_status(world, shoal):
    status, out, _ = shoal("runs")
    assert status == 0
    assert RUN in out
    assert "weekly-report" in out
    assert "failed" in out


def test_runs_in_json(world, shoal):
    found = json.loads(shoal("runs", "--json")[1])
    assert [r["status"] for r in found["runs"]] == ["succeeded", "failed"]


def test_resumable_is_asked_for_as_running_and_waiting(world, shoal):
    shoal("runs", "--status", "resumable", "--workflow", "w", "-n", "7")
    (query,) = next(c for c in world.calls if c[0] == "runs")[1]
    assert query.statuses == (RunStatus.RUNNING, RunStatus.WAITING)
    assert (query.workflow_id, query.limit) == ("w", 7)


def test_no_runs_is_said_and_is_no_error(world, shoal):
    world.runs = []
    assert shoal("runs")[:2] == (0, "no runs\n")


def test_show_is_readable(world, shoal):
    status, out, _ = shoal("show", RUN)
    assert status == 0
    for words in (RUN, "weekly-report", "succeeded", "1m04s", "2000/2000 items", "2 failed", "report.md", "step.succeeded"):
        assert words in out
    assert "question: six by nine" in out


def test_show_json_has_inputs_and_on_request_events(world, shoal):
    plain, full = (json.loads(shoal("show", RUN, "--json", *more)[1]) for more in ([], ["--events"]))
    assert plain["inputs"] == {"question": "six by nine"}
    assert "events" not in plain
    assert [e["seq"] for e in full["events"]] == [1, 2]


def test_show_of_an_unknown_run_or_step_is_bad_usage(world, shoal):
    assert shoal("show", RUN, "--step", "nosuch")[0] == 2
    world.raises["show"] = NotFoundError("there is no run x")
    assert shoal("show", "x")[0] == 2


def test_show_step_has_attempts_inputs_and_outputs(world, shoal):
    world.views[-1] = SimpleNamespace(
        run=world.views[-1].run,
        workflow=world.views[-1].workflow,
        steps=(step("fetch", result={"files": json_value(["a.py"])}, attempts=2),),
        outputs=None,
    )
    lost = StoreUnavailableError("first\nsecond")
    world.attempts = [
        AttemptRecord(StepPath("fetch"), 1, AttemptId("a"), START, START, "exception", lost, "node-1"),
        AttemptRecord(StepPath("fetch"), 2, AttemptId("b"), START, START, "succeeded"),
    ]
    status, out, _ = shoal("show", RUN, "--step", "fetch")
    assert status == 0
    for words in ("exception", "node-1", "first", "url: http://127.0.0.1/", '"a.py"'):
        assert words in out
    found = json.loads(shoal("show", RUN, "--step", "fetch", "--json")[1])
    assert [a["outcome"] for a in found["history"]] == ["exception", "succeeded"]
    assert found["outputs"] == {"files": ["a.py"]}
    assert found["attempts"] == 2


def chunks():
    fetch, item = StepPath("fetch"), StepPath("measure[3]")
    return [
        LogChunk(fetch, 1, 0, b"one\ntw"),
        LogChunk(item, 2, 0, b"other\n"),
        LogChunk(fetch, 1, 6, b"o\n\xff tail"),
    ]


def test_logs_of_a_run_are_lines_with_their_step(world, capfdbinary):
    from shoal.cli import main

    world.chunks = chunks()
    assert main(["logs", RUN]) == 0
    out = capfdbinary.readouterr().out
    assert out == b"fetch | one\nmeasure[3] (attempt 2) | other\nfetch | two\nfetch | \xff tail\n"


def test_logs_of_a_step_are_its_bytes(world, capfdbinary):
    from shoal.cli import main

    world.chunks = [c for c in chunks() if c.path == "fetch"]
    assert main(["logs", RUN, "fetch", "-f"]) == 0
    assert capfdbinary.readouterr().out == b"one\ntwo\n\xff tail"
    assert ("logs", (RUN, "fetch"), {"follow": True}) in world.calls


def test_logs_in_json_are_one_object_and_followed_a_line_each(world, shoal):
    world.chunks = chunks()
    found = json.loads(shoal("logs", RUN, "--json")[1])
    assert found["logs"][0] == {"step": "fetch", "attempt": 1, "text": "one\ntwo\n� tail"}
    assert [json.loads(line)["step"] for line in shoal("logs", RUN, "--json", "-f")[1].splitlines()] == [
        "fetch",
        "measure[3]",
        "fetch",
    ]


def test_graph_of_a_file_opens_no_journal_and_of_a_run_shows_statuses(world, answer_file, shoal, tmp_path):
    status, out, _ = shoal("graph", answer_file)
    assert status == 0
    assert out.startswith("flowchart TD")
    assert world.calls == []
    target = tmp_path / "run.svg"
    assert shoal("graph", RUN, "--format", "svg", "-o", target)[:2] == (0, "")
    assert "succeeded" in target.read_text()
    assert shoal("graph", RUN, "-o", tmp_path / "no" / "x.svg")[0] == 2
    assert shoal("graph", RUN, "--format", "png")[0] == 2


def test_validate_lists_every_problem_of_every_file(world, answer_file, shoal):
    bad = answer_file.with_name("bad.yaml")
    bad.write_text(answer_file.read_text().replace("tool:", "tol:"))
    assert shoal("validate", answer_file)[0] == 0
    status, out, err = shoal("validate", answer_file, bad, bad)
    assert (status, out) == (2, "")
    assert err.count("bad.yaml:6:5: ") == 2
    assert "   6 |   - name: answer" in err
    found = json.loads(shoal("validate", bad, "--json")[1])
    assert found["error"]["code"] == "definition"
    assert json.loads(shoal("validate", answer_file, "--json")[1])["valid"] is True
    assert shoal("validate", "nowhere.yaml")[0] == 2
    assert world.calls == []


def test_schema_is_json(shoal):
    assert "$schema" in json.loads(shoal("schema")[1])


def test_tools_list_names_the_built_in_ones(shoal):
    status, out, _ = shoal("tools", "list")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines()} >= {"shell", "http", "python"}
    assert {t["tool"] for t in json.loads(shoal("tools", "list", "--json")[1])["tools"]} >= {"shell"}


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (None, 0), (False, 3)])
def test_doctor_exits_3_if_anything_is_wrong(world, shoal, home, ok, status):
    world.findings = [SimpleNamespace(name="journal", ok=ok, detail="a\nb", hint="mend it")]
    found, out, _ = shoal("doctor")
    assert found == status
    assert "journal: a" in out
    assert ("mend it" in out) is (ok is not True)
    assert json.loads(shoal("doctor", "--json")[1])["ok"] is (status == 0)


def test_doctor_finds_that_the_journal_cannot_be_opened(world, shoal, home):
    world.raises["connect"] = StoreUnavailableError("the journal is locked", hint="wait")
    status, out, _ = shoal("doctor")
    assert status == 3
    assert "the journal is locked" in out


def test_doctor_finds_a_home_that_is_a_file(world, shoal, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "file"))
    world.raises["connect"] = StoreUnavailableError("not a folder")
    status, out, _ = shoal("doctor")
    assert status == 3
    assert "no folder" in out


def test_up_and_down_use_the_daemon(shoal, home, monkeypatch):
    monkeypatch.setattr(
        "shoal.daemon.up", lambda settings: DaemonInfo(7, "f", "2026-11-23T12:00:00+00:00", "127.0.0.1:6379", "sqlite:///x")
    )
    monkeypatch.setattr("shoal.daemon.down", lambda settings: False)
    status, out, _ = shoal("up")
    assert (status, out) == (0, "up: process 7, Ray at 127.0.0.1:6379\n")
    assert json.loads(shoal("up", "--json")[1])["pid"] == 7
    assert shoal("down")[:2] == (0, "nothing was up\n")
    assert json.loads(shoal("down", "--json")[1]) == {"ended": False}
