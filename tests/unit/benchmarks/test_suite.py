from contextlib import contextmanager

import pytest
from benchmarks import machine, suite
from benchmarks.bench import Row, in_turn, plain
from benchmarks.cluster import LocalRay
from benchmarks.place import MeasurementError, environment, last_object, run


@contextmanager
def broken(bench):
    raise MeasurementError("cannot be set up")
    yield


def measured(*rows, repeat=3):
    *_, last = suite.measure(rows, repeat=repeat, quick=True, address="nowhere:1", tell=lambda _: None)
    return last.rows


def test_a_row_or_a_round_that_fails_leaves_the_others_be():
    def flaky(bench, number):
        if number == 1:
            raise MeasurementError("no second round")
        return {"a": float(number)}

    rows = measured(Row("x", "", broken), Row("y", "", plain(flaky)), Row("z", "", plain(flaky), long=True))
    assert (rows["x"].figures, rows["x"].trouble) == ({}, "cannot be set up")
    assert (rows["y"].figures, rows["y"].trouble) == ({"a": [0.0, None, 2.0]}, "no second round")
    assert rows["z"].figures == {"a": [0.0]}, "a long row has fewer rounds"


def test_the_folder_of_a_run_is_removed_and_seen_by_its_rows():
    seen = []

    def look(bench, _):
        seen.append(bench.place.home())
        assert seen[-1].is_dir()
        return {}

    measured(Row("x", "", plain(look)), repeat=2)
    assert len(set(seen)) == 2
    assert not any(home.exists() for home in seen)


def test_a_folder_in_memory_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "filesystem", lambda _: "tmpfs")
    with pytest.raises(MeasurementError, match="tmpfs"):
        machine.describe(tmp_path)


def test_sides_take_turns_in_being_first():
    order = []
    sides = [lambda: order.append("a") or {"a": 1.0}, lambda: order.append("b") or {"b": 2.0}]
    assert in_turn(0, sides) == in_turn(1, sides) == {"a": 1.0, "b": 2.0}
    assert order == ["a", "b", "b", "a"]


def test_a_ray_that_others_keep_is_neither_stopped_nor_restarted():
    ray = LocalRay("host:1")
    ray.stop()
    assert ray.address == "host:1"
    for act in (ray.restart, ray.away().__enter__):
        with pytest.raises(MeasurementError, match="restart"):
            act()


def test_probes_see_no_settings_of_the_user(monkeypatch):
    monkeypatch.setenv("SHOAL_STORE", "sqlite:///x")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    variables = environment(SHOAL_HOME="h")
    assert {"SHOAL_STORE", "RAY_ADDRESS"}.isdisjoint(variables)
    assert variables["SHOAL_HOME"] == "h"


def test_a_command_that_fails_is_told_with_its_last_words():
    with pytest.raises(MeasurementError, match=r"ended with 3: first / second"):
        run(["sh", "-c", "echo zero; echo first >&2; echo second >&2; exit 3"], environment())


def test_a_command_that_takes_too_long_is_ended():
    with pytest.raises(MeasurementError, match="more than 0 s"):
        run(["sleep", "60"], environment(), timeout=0.05)


def test_figures_are_the_last_line():
    assert last_object('noise\n{"a": 1}\n') == {"a": 1}
    with pytest.raises(MeasurementError, match="no figures"):
        last_object("noise")
