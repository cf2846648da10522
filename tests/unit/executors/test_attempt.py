"""What the end of an attempt means."""

import pytest

from shoal.errors import NonRetryableError, RunCanceledError, StepFailedError, StepTimeoutError
from shoal.executors.attempt import Attempt
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
    assert attempt.completion(FINE).logs == b"hello"
    assert attempt.told == 0


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
