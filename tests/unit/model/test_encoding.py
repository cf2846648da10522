"""Values: what comes back is what went in, large ones are blobs before they are named, and no place that only shows unpickles."""

import hashlib
import json
from collections import OrderedDict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import ExpressionError, NonRetryableError
from shoal.model.encoding import decode, encode, encode_manifest, show, value_from_json, value_to_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Blobs(dict):
    """Blobs in memory, by digest."""

    def put(self, data):
        digest = hashlib.sha256(data).hexdigest()
        self[digest] = data
        return digest


class Trap:
    """Tells when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return (_spring, ())


def _spring():
    Trap.sprung = True
    return "sprung"


def same(one, other):
    """Whether two objects are equal and of equal types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(JSON)
def test_json_comes_back_as_it_was(value):
    blobs = Blobs()
    encoded = encode(value, blobs.put)
    recorded = value_from_json(json.loads(json.dumps(value_to_json(encoded))))
    assert same(decode(recorded, blobs.__getitem__, trusted=True), value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "a"},
        {"a": (1,)},
        [{1}],
        b"bytes",
        float("inf"),
        datetime(2026, 1, 2, tzinfo=UTC),
        OrderedDict(a=1),
        "\ud800",
        1j,
    ],
    ids=repr,
)
def test_what_json_would_change_is_pickled_and_comes_back_as_it_was(value):
    encoded = encode(value, Blobs().put)
    assert encoded.codec == "pickle"
    recorded = value_from_json(json.loads(json.dumps(value_to_json(encoded))))
    assert same(decode(recorded, Blobs().__getitem__, trusted=True), value)


@pytest.mark.parametrize(("characters", "inline"), [(98, True), (99, False)])
def test_a_value_above_the_limit_is_a_blob_before_it_is_named(characters, inline):
    blobs = Blobs()
    encoded = encode("x" * characters, blobs.put, limit=100)
    assert encoded.size == characters + 2
    assert (encoded.data is not None, encoded.digest in blobs) == (inline, not inline)
    assert decode(encoded, blobs.__getitem__, trusted=False) == "x" * characters


@pytest.mark.parametrize("limit", [0, 1000], ids=["blob", "inline"])
def test_a_pickle_is_shown_and_refused_without_being_opened(limit):
    blobs = Blobs()
    Trap.sprung = False
    encoded = encode(Trap(), blobs.put, limit=limit)
    manifest = encode_manifest([encoded], blobs.put)
    shown = show(encoded, blobs.__getitem__)
    assert shown["type"].endswith(".Trap")
    assert shown["bytes"] == encoded.size
    assert len(shown["$ref"]) == 64
    assert show(manifest, blobs.__getitem__)["type"] == "list"
    for value in (encoded, manifest):
        with pytest.raises(ExpressionError, match="which an expression cannot look into"):
            decode(value, blobs.__getitem__, trusted=False)
    assert not Trap.sprung
    assert decode(manifest, blobs.__getitem__, trusted=True) == ["sprung"]


def test_what_is_neither_json_nor_a_pickle_is_an_error_that_says_so():
    with pytest.raises(NonRetryableError, match="can be neither JSON nor a pickle"):
        encode(lambda: None, Blobs().put)


def test_a_value_that_contains_itself_is_pickled():
    loop = []
    loop.append(loop)
    encoded = encode(loop, Blobs().put)
    again = decode(encoded, Blobs().__getitem__, trusted=True)
    assert again[0] is again
