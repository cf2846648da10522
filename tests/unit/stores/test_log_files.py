"""Where logs in files stand."""

import pytest

from shoal.errors import StoreUnavailableError
from shoal.model.ids import RunId, StepPath
from shoal.stores.logs import LIMIT, FileLogStore


def test_no_path_of_a_step_leads_out_of_its_folder(tmp_path):
    logs = FileLogStore(str(tmp_path / "logs"))
    for path in ("../../escaped", "/escaped", "..", "a/../../../escaped", "\x00", "~/x", "é" * 300):
        logs.append(RunId("run"), StepPath(path), 1, b"x")
        logs.append(RunId(path), StepPath("step"), 1, b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs"]
    assert all(len(p.name) <= 255 for p in (tmp_path / "logs").rglob("*"))
    assert len(logs.read(RunId("run"))) == 7


def test_a_link_in_the_place_of_a_log_is_not_written_through(tmp_path):
    logs = FileLogStore(str(tmp_path / "logs"))
    logs.append(RunId("run"), StepPath("a"), 1, b"x")
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "logs" / "run" / "b@1.log").symlink_to(target)
    with pytest.raises(StoreUnavailableError):
        logs.append(RunId("run"), StepPath("b"), 1, b"x")
    assert [chunk.path for chunk in logs.read(RunId("run"))] == ["a"]
    logs.delete(RunId("run"))
    assert target.read_text() == "mine"


def test_a_log_takes_no_more_room_than_its_limit_and_a_line(tmp_path):
    logs = FileLogStore(str(tmp_path))
    for _ in range(12):
        logs.append(RunId("run"), StepPath("a"), 1, b"x" * 1024 * 1024)
    assert (tmp_path / "run" / "a@1.log").stat().st_size == LIMIT + len("\n[shoal:         2097152 bytes more were dropped]\n")


def test_what_was_dropped_before_it_came_here_is_counted_at_the_end(tmp_path):
    store = FileLogStore(str(tmp_path))
    store.append(RunId("r"), StepPath("a"), 1, b"x" * LIMIT, dropped=5)
    store.append(RunId("r"), StepPath("a"), 1, b"", dropped=90_000_000)
    (chunk,) = store.read(RunId("r"))
    assert chunk.data.rstrip().endswith(b"90000005 bytes more were dropped]")
