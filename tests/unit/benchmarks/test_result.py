import dataclasses
import json

import pytest
from benchmarks.goals import Goal
from benchmarks.result import Result, RowResult, load, merged, save
from benchmarks.suite import aligned
from benchmarks.table import circumstances

GOAL = Goal("g", "group", "chain", "what", "chain.shoal", "ours/theirs", "at most", "ms", theirs="chain.tasks", limit=0.75)
MACHINE = {
    "cores": 2, "memory_gib": 4.0, "system": "Linux x", "python": "3.11", "ray": "2", "shoal": "0", "filesystem": "ext4", "fsync_ms": 0.3,
}  # fmt: skip
ROW = RowResult("2026-01-01T00:00:00+00:00", 1.0, {"shoal": [3.0, None], "tasks": [4.0, 1.0]})
RESULT = Result("2026-01-01T00:00:00+00:00", False, 5, MACHINE, {"chain": 300}, {"chain": ROW})


def test_a_result_comes_back_from_its_file_as_it_was(tmp_path):
    save(RESULT, [GOAL], tmp_path / "deep" / "r.json")
    assert load(tmp_path / "deep" / "r.json") == RESULT
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["r.json"]


def test_the_file_says_what_follows_from_the_samples(tmp_path):
    save(RESULT, [GOAL], tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["fsync"].startswith("on")
    assert data["summary"]["chain.shoal"]["median"] == 3.0
    (comparison,) = data["comparisons"]
    assert (comparison["value"], comparison["verdict"], comparison["wanted"]) == (0.75, "met", "at most 0.75 times")


def test_a_side_that_is_absent_says_why_and_the_row_why_it_failed():
    row = RowResult("t", 1.0, {"shoal": [1.0]}, "it broke", {"dbos": "no network"})
    assert row.reason("peers.dbos.chain") == "no network"
    assert row.reason("peers.other.chain") == "it broke"
    lost = dataclasses.replace(GOAL, ours="peers.shoal", theirs="peers.dbos.chain", row="peers")
    (comparison,) = dataclasses.replace(RESULT, rows={"peers": row}).comparisons([lost])
    assert comparison.told == "not measured: no network"


def test_a_file_of_another_schema_is_refused(tmp_path):
    (tmp_path / "r.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="99"):
        load(tmp_path / "r.json")


def test_rows_of_an_older_result_are_kept_if_they_can_be_compared():
    other = dataclasses.replace(RESULT, rows={"runs": ROW}, machine={**MACHINE, "fsync_ms": 0.9})
    assert merged(RESULT, other).rows.keys() == {"chain", "runs"}
    assert merged(RESULT, None) is RESULT


@pytest.mark.parametrize(
    "change",
    [{"quick": True}, {"machine": {**MACHINE, "cores": 4}}, {"sizes": {"chain": 20}}],
    ids=["quick", "machine", "sizes"],
)
def test_rows_that_cannot_be_compared_are_not_kept(change):
    other = dataclasses.replace(RESULT, rows={"runs": ROW}, **change)
    assert merged(RESULT, other).rows.keys() == {"chain"}


def test_samples_are_aligned_by_round():
    assert aligned([{"a": 1.0}, {}, {"a": 3.0, "b": 4.0}]) == {"a": [1.0, None, 3.0], "b": [None, None, 4.0]}


def test_the_circumstances_tell_the_fsync_and_the_machine_and_warn_of_small_sizes():
    told = circumstances(RESULT)
    assert "fsync is on" in told
    assert "2 cores" in told
    assert "Small sizes" not in told
    assert "Small sizes" in circumstances(dataclasses.replace(RESULT, quick=True))
