"""Secrets never get out, however the output is cut."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import StepFailedError
from shoal.executors.logs import LogBuffer
from shoal.executors.masking import Mask
from shoal.model.attempts import Failed
from shoal.model.masking import mask

SECRETS = ["hunter2hunter2", "hunter2hunter2-long", "aaaaaaaa", "päßwörter", "two\nlines of it"]
WORDS = st.sampled_from([*SECRETS, "hunter2", "aaa", " ", "\n", "plain", "pä", "hunter2hunter2-lon"])


def cut(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@given(st.lists(WORDS, max_size=20), st.lists(st.integers(0, 9), max_size=40))
def test_no_cut_lets_a_secret_through(words, sizes):
    data = "".join(words).encode()
    whole = LogBuffer(Mask(SECRETS))
    whole.write(data)
    pieces = LogBuffer(Mask(SECRETS))
    out = b""
    for piece in cut(data, sizes):
        pieces.write(piece)
        out += pieces.take()[0]
    out += pieces.take(last=True)[0]
    for secret in SECRETS:
        assert secret.encode() not in out
    assert out == whole.take(last=True)[0], "the cuts make no difference"


def test_short_secrets_are_left_and_the_longest_wins():
    assert Mask(["short"]).text("short") == "short"
    assert Mask(["abcdefgh", "abcdefghij"]).text("abcdefghij") == "***"


def test_every_field_of_an_error_is_masked_but_its_code():
    mask = Mask(["step_failed", "hunter2hunter2"])
    error = StepFailedError("it is hunter2hunter2", traceback="line hunter2hunter2", hint="hunter2hunter2")
    outcome = mask.outcome(Failed(error, ("ValueError",), retryable=False))
    assert isinstance(outcome.error, StepFailedError)
    assert "hunter2" not in str(outcome.error.to_json())
    assert not outcome.retryable


def test_the_longest_in_bytes_need_not_be_the_longest_in_characters():
    secrets = ["a" * 12, "p" + "ä" * 10]
    log = LogBuffer(Mask(secrets))
    out = b""
    for piece in cut(secrets[1].encode(), [15]):
        log.write(piece)
        out += log.take()[0]
    assert out + log.take(last=True)[0] == b"***"


@given(st.lists(WORDS, max_size=20))
def test_a_stream_and_a_text_are_masked_by_one_rule(words):
    text = "".join(words)
    assert mask(text, SECRETS) == Mask(SECRETS).text(text)
    assert mask(text, SECRETS).encode() == mask(text.encode(), SECRETS) == Mask(SECRETS).whole(text.encode())
