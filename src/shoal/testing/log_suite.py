"""The promises of `LogStore`, as tests that every store of logs passes.

Subclass `LogStoreSuite` and define the fixture `logs`: a store on an empty place.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoal.model.ids import RunId, StepPath
from shoal.ports import LogChunk, LogStore

RUN = RunId("run-1.x_y")
STEP = StepPath("step")
LIMIT = 10 * 1024 * 1024


class LogStoreSuite:
    """What every `LogStore` does."""

    @pytest.fixture
    def logs(self) -> Iterator[LogStore]:
        """Yield a store of logs on an empty place."""
        raise NotImplementedError

    def test_pieces_of_an_attempt_are_one_log(self, logs: LogStore) -> None:
        logs.append(RUN, STEP, 1, b"one\n")
        logs.append(RUN, STEP, 1, b"\xff\x00two")
        assert logs.read(RUN) == [LogChunk(STEP, 1, 0, b"one\n\xff\x00two")]

    def test_attempts_steps_and_runs_have_logs_of_their_own(self, logs: LogStore) -> None:
        other = StepPath("step[0]")
        logs.append(RUN, STEP, 2, b"b")
        logs.append(RUN, STEP, 1, b"a")
        logs.append(RUN, other, 1, b"c")
        logs.append(RunId("run-1"), STEP, 1, b"d")
        assert logs.read(RUN) == [LogChunk(STEP, 1, 0, b"a"), LogChunk(STEP, 2, 0, b"b"), LogChunk(other, 1, 0, b"c")]
        assert logs.read(RUN, STEP) == [LogChunk(STEP, 1, 0, b"a"), LogChunk(STEP, 2, 0, b"b")]
        assert logs.read(RunId("nothing")) == []

    def test_a_reader_goes_on_where_it_was(self, logs: LogStore) -> None:
        logs.append(RUN, STEP, 1, b"seen")
        logs.append(RUN, STEP, 2, b"also seen")
        after = {f"{c.path}@{c.number}": c.offset + len(c.data) for c in logs.read(RUN)}
        assert logs.read(RUN, after=after) == []
        logs.append(RUN, STEP, 1, b" new")
        assert logs.read(RUN, after=after) == [LogChunk(STEP, 1, 4, b" new")]
        assert logs.read(RUN, STEP, after={"step@1": 100, "step@2": 8}) == [LogChunk(STEP, 2, 8, b"n")]

    @pytest.mark.parametrize(
        "path", ["a/7[0]", "fin#2", "../../x", "/etc/passwd", "a" * 1000, "ü/%41~@1.log", "A@1", ".", "a\nb\x00"]
    )
    def test_any_path_is_a_log_of_its_own(self, logs: LogStore, path: str) -> None:
        logs.append(RUN, StepPath(path), 3, b"x")
        logs.append(RUN, StepPath("other"), 3, b"y")
        assert logs.read(RUN, StepPath(path)) == [LogChunk(StepPath(path), 3, 0, b"x")]
        assert len(logs.read(RUN)) == 2

    def test_a_log_is_cut_and_its_last_line_says_by_how_much(self, logs: LogStore) -> None:
        logs.append(RUN, STEP, 1, b"x" * (LIMIT - 5))
        logs.append(RUN, STEP, 1, b"12345678")
        after = {"step@1": LIMIT}
        (chunk,) = logs.read(RUN, after=after)
        assert b" 3 bytes more were dropped" in chunk.data
        logs.append(RUN, STEP, 1, b"y" * 997)
        (again,) = logs.read(RUN, after=after)
        assert b" 1000 bytes more were dropped" in again.data
        assert len(again.data) == len(chunk.data) < 100
        assert logs.read(RUN, after={"step@1": LIMIT + len(chunk.data)}) == []
        (whole,) = logs.read(RUN)
        assert whole.data.startswith(b"x" * (LIMIT - 5) + b"12345\n[shoal: ")

    def test_what_got_lost_on_its_way_is_named_in_its_place(self, logs: LogStore) -> None:
        logs.append(RUN, STEP, 1, b"one\n", dropped=17)
        logs.append(RUN, STEP, 1, b"two\n")
        assert logs.read(RUN)[0].data == b"one\n[shoal: 17 bytes were dropped here]\ntwo\n"

    def test_deleting_takes_the_logs_of_one_run_and_may_be_repeated(self, logs: LogStore) -> None:
        longer = RunId(f"{RUN}.more")
        logs.append(RUN, STEP, 1, b"x")
        logs.append(longer, STEP, 1, b"y")
        logs.delete(RUN)
        logs.delete(RUN)
        assert logs.read(RUN) == []
        assert logs.read(longer) == [LogChunk(STEP, 1, 0, b"y")]
