"""What the end of an attempt means."""

import pytest

from shoal.errors import NonRetryableError, RunCanceledError, StepFailedError, StepTimeoutError
from shoal.executors.attempt import Attempt
from shoal.executors.before import Before, Received
from shoal.executors.logs import LOG_LIMIT
from shoal.model.attempts import Failed, Succeeded
from shoal.testing.executor_suite import call

FINE = Succeeded({})
BROKEN = Failed(StepFailedError("no"))


@pytest.mark.parametrize(
    ("canceled", "looked", "outcome", "expected"),
    [
        (False, True, FINE, FINE),
        (False, False, BROKEN, BROKEN),
        (True, False, FINE, FINE),
        (True, True, FINE, RunCanceledError),
        (True, False, BROKEN, RunCanceledError),
    ],
)
def test_a_result_stands_unless_its_tool_saw_the_flag(canceled, looked, outcome, expected):
    attempt = Attempt(call("echo"))
    if canceled:
        attempt.cancel(5)
    if looked:
        assert attempt.control.canceled() is canceled
    judged = attempt.judged(outcome)
    if isinstance(expected, type):
        assert isinstance(judged.error, expected)
        assert not judged.retryable
    else:
        assert judged is expected


def test_past_the_timeout_every_end_is_a_timeout():
    attempt = Attempt(call("echo", timeout=0))
    assert isinstance(attempt.judged(FINE).error, StepTimeoutError)
    assert isinstance(attempt.judged(BROKEN).error, StepTimeoutError)


def test_a_second_cancel_only_brings_the_end_nearer():
    attempt = Attempt(call("echo"))
    attempt.cancel(100)
    first = attempt.kill_at
    attempt.cancel(200)
    assert attempt.kill_at == first
    attempt.cancel(1)
    assert attempt.kill_at < first


def test_a_young_attempt_gives_no_notice_and_its_log_comes_with_its_completion():
    attempt = Attempt(call("echo"))
    attempt.log.write(b"hello")
    assert attempt.notice() is None
    completion, before = attempt.completion(FINE)
    assert completion.logs == b"hello"
    assert before == Before()


def test_what_is_sent_again_is_taken_once():
    attempt, received = Attempt(call("echo")), Received()
    attempt._notice_at = 0
    attempt.log.write(b"one ")
    notice, before = attempt.notice()
    assert received.fresh(before, notice.logs, notice.logs_dropped) == (b"one ", 0)
    attempt.take_back(notice)  # its acknowledgement was lost
    attempt.log.write(b"two ")
    attempt._notice_at = 0
    notice, before = attempt.notice()
    assert (notice.logs, before.notices) == (b"one two ", 0)
    assert notice.started_at is not None
    assert received.fresh(before, notice.logs, notice.logs_dropped) == (b"two ", 0)
    attempt.take_back(notice)
    attempt.log.write(b"x" * LOG_LIMIT)
    completion, before = attempt.completion(FINE)
    logs, dropped = received.fresh(before, completion.logs, completion.logs_dropped)
    assert logs == b"x" * (LOG_LIMIT - 8)
    assert dropped == 8
    assert received.fresh(before, completion.logs, completion.logs_dropped) == (b"", 0)


def test_a_notice_that_is_on_its_way_at_the_end_is_in_the_completion_too():
    attempt, received = Attempt(call("echo")), Received()
    attempt._notice_at = 0
    attempt.log.write(b"one ")
    first, before = attempt.notice()
    attempt.acknowledge(first)
    received.fresh(before, first.logs, first.logs_dropped)
    attempt._notice_at = 0
    attempt.log.write(b"two ")
    late, _ = attempt.notice()
    attempt.log.write(b"three")
    completion, before = attempt.completion(FINE)
    assert (completion.logs, before) == (b"two three", Before(1, 4, 0))
    attempt.take_back(late)  # its delivery failed after all, too late to matter
    attempt.acknowledge(late)
    assert attempt.completion(FINE)[0].logs == b""
    assert received.fresh(before, completion.logs, completion.logs_dropped) == (b"two three", 0)


@pytest.mark.parametrize("raised", [SystemExit(2), KeyboardInterrupt(), GeneratorExit()])
def test_nothing_an_invoker_raises_gets_out(raised):
    def invoke(_call, _control):
        raise raised

    assert isinstance(Attempt(call("echo")).invoke(invoke), Failed)


def test_a_variable_that_cannot_be_set_is_refused_for_good():
    outcome = Attempt(call("echo", env={"A=B": "1"})).invoke(lambda *_: FINE)
    assert isinstance(outcome, Failed)
    assert not outcome.retryable
    assert "A=B" in str(outcome.error)
    assert not isinstance(outcome.error, NonRetryableError)
