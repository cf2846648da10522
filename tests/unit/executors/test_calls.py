"""Calls come out of their packed form as they went in."""

from dataclasses import replace
from datetime import timedelta

from shoal.executors.ray.calls import CallPacker, unpack_calls
from shoal.model.values import Arguments, SecretName, SecretText, Value
from shoal.testing.executor_suite import call


def test_what_is_packed_comes_back():
    holes = ((("a", 0), Value("json", 1, data=b"1")), (("b",), SecretText((SecretName("s"),))))
    one = replace(call("echo", env={"A": "b"}, secrets={"s": "x"}, timeout=3), arguments=Arguments({"a": [None]}, holes))
    other = replace(one, attempt_id="other", path="x/1", number=2, timeout=timedelta(1))
    packer = CallPacker()
    jobs = [one, other, one.tool, call("say", memory=5)]
    for _ in range(2):
        assert unpack_calls(packer.pack(jobs)) == jobs


def test_what_calls_have_in_common_is_packed_once():
    packer = CallPacker()
    one = call("echo", value=1)
    alone = len(packer.pack([one]))
    together = len(packer.pack([replace(one, attempt_id=f"{n:024}") for n in range(50)]))
    assert together < alone + 50 * 120


def test_another_run_with_equal_parts_is_another_run():
    packer = CallPacker()
    one = call("echo", value=1)
    packer.pack([one])
    assert unpack_calls(packer.pack([replace(one, run_id="another")]))[0].run_id == "another"
