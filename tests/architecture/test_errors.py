"""Every error pickles, round-trips through JSON and has its statuses."""

import pickle

import pytest

from shoal.errors import (
    DefinitionError,
    InternalError,
    NonRetryableError,
    Problem,
    StepFailedError,
    error_from_json,
    registered_errors,
)

EXIT = {1, 2, 3, 4}


@pytest.mark.parametrize("code", sorted(registered_errors()))
def test_error_pickles_and_round_trips(code):
    cls = registered_errors()[code]
    error = cls("it broke", hint="mend it")
    for other in (pickle.loads(pickle.dumps(error)), error_from_json(error.to_json())):
        assert type(other) is cls
        assert other.to_json() == error.to_json()
        assert str(other) == "it broke (mend it)"
    assert cls.exit_status in EXIT
    assert 400 <= cls.http_status < 600
    assert cls.__doc__


def test_fields_survive():
    error = StepFailedError("x", run_id="r", step="a[3]", exception="ValueError", traceback="...")
    assert pickle.loads(pickle.dumps(error)).step == "a[3]"
    problems = (Problem("bad", "f.yaml", 3, 4, "do"), Problem("worse", "f.yaml", 1, 1))
    refused = error_from_json(DefinitionError.of(problems).to_json())
    assert isinstance(refused, DefinitionError)
    assert [p.line for p in refused.problems] == [1, 3]
    assert "f.yaml:3:4: bad (do)" in str(refused)


def test_unknown_code_is_kept_as_internal_error():
    error = error_from_json({"code": "from_the_future", "message": "hm", "x": 1})
    assert isinstance(error, InternalError)
    assert "from_the_future" in str(error)


def test_an_authors_subclass_without_a_code_goes_by_its_base():
    class MineError(NonRetryableError):
        pass

    assert registered_errors()["non_retryable"] is NonRetryableError
    assert type(pickle.loads(pickle.dumps(MineError("x")))) is NonRetryableError
