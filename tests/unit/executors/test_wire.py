"""Completions and notices come back from bytes as they went."""

from datetime import UTC, datetime

import pytest

from shoal.errors import StepFailedError
from shoal.executors.before import Before
from shoal.executors.wire import Reply, pack_completion, pack_notice, pack_reply, unpack_completion, unpack_notice, unpack_reply
from shoal.model.attempts import Completion, Continuation, Continued, Failed, Notice, Succeeded
from shoal.model.run import Progress
from shoal.model.values import Arguments, Value

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
OUTCOMES = [
    Succeeded({}),
    Succeeded({"a": Value("json", 2, data=b"42"), "b": Value("pickle", 3, data=b"\x80\n\0", type_name="x.Y")}),
    Succeeded({"big": Value("json", 10**6, digest="ab" * 32)}),
    Continued(Continuation("t@1", Arguments({"x": None}, ((("x",), Value("json", 1, data=b"1")),)), ("r",))),
    Continued(Continuation({"steps": []}, Arguments({}))),
    Failed(StepFailedError("né\n", exception="E", traceback="t"), ("E", "Exception"), retryable=False),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: o.kind)
def test_completion(outcome):
    completion = Completion("id", outcome, NOW, None, b"log\n\xff\n", 7, "node")
    back, before = unpack_completion(pack_completion(completion, Before(3, 4, 5)))
    assert before == Before(3, 4, 5)
    if isinstance(outcome, Failed):
        assert back.outcome.error.to_json() == outcome.error.to_json()
        assert (back.outcome.exception_names, back.outcome.retryable) == (outcome.exception_names, outcome.retryable)
    else:
        assert back.outcome == outcome
    assert (back.attempt_id, back.started_at, back.finished_at) == ("id", NOW, None)
    assert (back.logs, back.logs_dropped, back.node) == (b"log\n\xff\n", 7, "node")


@pytest.mark.parametrize("progress", [None, Progress(1.5), Progress(1, 2, "é")])
def test_notice(progress):
    notice = Notice("id", NOW, progress, b"\n\n", 1)
    assert unpack_notice(pack_notice(notice, Before(1, 2))) == (notice, Before(1, 2))


def test_reply():
    ends = [(Completion(f"a{n}", outcome, NOW, NOW, b"log" * n, 0, "node"), Before(n)) for n, outcome in enumerate(OUTCOMES)]
    back = unpack_reply(pack_reply(Reply(ends, ["x"], [(3, "{}")], retire=True)))
    assert [(c.attempt_id, c.logs, before) for c, before in back.completions] == [(c.attempt_id, c.logs, b) for c, b in ends]
    assert [c.outcome for c, _ in back.completions[:3]] == [c.outcome for c, _ in ends[:3]]
    assert (back.returned, back.options, back.retire) == (["x"], [(3, "{}")], True)
