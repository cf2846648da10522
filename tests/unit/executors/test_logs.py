"""A log is limited, counted, and in order."""

from shoal.executors.logs import LogBuffer
from shoal.executors.masking import Mask


def test_over_the_limit_bytes_are_counted_and_dropped():
    log = LogBuffer(Mask([]), limit=10)
    log.write(b"12345678")
    assert log.take() == (b"12345678", 0)
    log.write(b"9abc")
    log.write(b"more")
    assert log.take() == (b"9a", 6)
    assert log.take(last=True) == (b"", 0)


def test_what_could_not_be_delivered_comes_first_again():
    log = LogBuffer(Mask([]))
    log.write(b"one ")
    taken = log.take()
    log.write(b"two")
    log.put_back(*taken)
    assert log.take() == (b"one two", 0)
