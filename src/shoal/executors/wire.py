"""Completions and notices as bytes, for the way from a worker to the orchestrator.

Owns the format: a JSON head of one line, then the raw bytes that it gives the lengths of. It is not a pickle, because the
orchestrator never unpickles what comes from where user code ran.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from shoal.errors import error_from_json
from shoal.executors.before import Before
from shoal.model.attempts import Completion, Continuation, Continued, Failed, Notice, Outcome, Succeeded
from shoal.model.encoding import arguments_from_json, arguments_to_json
from shoal.model.ids import AttemptId, Digest
from shoal.model.run import Progress
from shoal.model.values import Value

_NOTHING: Final = Before()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a warm worker answers to a batch.

    Attributes:
        completions: Of the attempts that it carried out, each with what went before it.
        returned: Attempts that it gives back: it has not begun them, and never will.
        options: What it read of tools, as JSON, by the place of the request in the batch.
        retire: It should be replaced.
    """

    completions: Sequence[tuple[Completion, Before]] = ()
    returned: Sequence[AttemptId] = ()
    options: Sequence[tuple[int, str]] = ()
    retire: bool = False


def pack_completion(completion: Completion, before: Before = _NOTHING) -> bytes:
    """Return a completion as bytes, with what went before it. A value's `hint` is left out."""
    parts: list[bytes] = []
    head = _completion(completion, before, parts)
    return _join(head, parts)


def unpack_completion(data: bytes) -> tuple[Completion, Before]:
    """Return the completion that `pack_completion` described, and what went before it."""
    return _read_completion(*_split(data))


def pack_reply(reply: Reply) -> bytes:
    """Return a reply as bytes: one head for all of its completions."""
    parts: list[bytes] = []
    heads = [_completion(completion, before, parts) for completion, before in reply.completions]
    return _join([heads, reply.returned, reply.options, reply.retire], parts)


def unpack_reply(data: bytes) -> Reply:
    """Return the reply that `pack_reply` described."""
    (heads, returned, options, retire), parts = _split(data)
    completions = [_read_completion(head, parts) for head in heads]
    return Reply(completions, [AttemptId(a) for a in returned], [(place, text) for place, text in options], retire)


def pack_notice(notice: Notice, before: Before = _NOTHING) -> bytes:
    """Return a notice as bytes, with what went before it."""
    progress = notice.progress
    told = [progress.done, progress.total, progress.note] if progress else None
    return _join([notice.attempt_id, _stamp(notice.started_at), told, notice.logs_dropped, *_before(before)], [notice.logs])


def unpack_notice(data: bytes) -> tuple[Notice, Before]:
    """Return the notice that `pack_notice` described, and what went before it."""
    (attempt_id, started, told, dropped, *before), parts = _split(data)
    progress = Progress(told[0], told[1], told[2]) if told else None
    return Notice(AttemptId(attempt_id), _time(started), progress, parts[0], dropped), Before(*before)


def _before(before: Before) -> tuple[int, int, int]:
    return before.notices, before.logs, before.dropped


def _completion(completion: Completion, before: Before, parts: list[bytes]) -> list[Any]:
    return [
        completion.attempt_id,
        _stamp(completion.started_at),
        _stamp(completion.finished_at),
        _part(completion.logs, parts),
        completion.logs_dropped,
        completion.node,
        _outcome(completion.outcome, parts),
        *_before(before),
    ]


def _read_completion(head: list[Any], parts: list[bytes]) -> tuple[Completion, Before]:
    attempt_id, started, finished, logs, dropped, node, outcome, *before = head
    read = _read_outcome(outcome, parts)
    said = b"" if logs is None else parts[cast("int", logs)]
    return Completion(AttemptId(attempt_id), read, _time(started), _time(finished), said, dropped, node), Before(*before)


def _part(data: bytes, parts: list[bytes]) -> int | None:
    """Add bytes to the parts and return their place; nothing is kept of empty ones."""
    if not data:
        return None
    parts.append(data)
    return len(parts) - 1


def _outcome(outcome: Outcome, parts: list[bytes]) -> list[Any]:
    match outcome:
        case Succeeded(outputs):
            return ["succeeded", {name: _value(value, parts) for name, value in outputs.items()}]
        case Continued(more):
            return ["continued", more.target, arguments_to_json(more.inputs), more.requirements, more.form]
        case Failed(caught=caught):
            told = None if caught is None else _value(caught, parts)
            return ["failed", outcome.error.to_json(), outcome.exception_names, outcome.retryable, told]


def _read_outcome(data: list[Any], parts: list[bytes]) -> Outcome:
    match data:
        case ["succeeded", outputs]:
            return Succeeded({name: _read_value(value, parts) for name, value in outputs.items()})
        case ["continued", target, inputs, requirements, form]:
            return Continued(Continuation(target, arguments_from_json(inputs), tuple(requirements), form))
        case ["failed", error, names, retryable, caught]:
            told = None if caught is None else _read_value(caught, parts)
            return Failed(error_from_json(error), tuple(names), retryable, told)
        case _:
            raise ValueError(f"no outcome is of the form {data!r}")


def _value(value: Value, parts: list[bytes]) -> list[Any]:
    if value.data is None:
        return [value.codec, value.size, value.type_name, value.digest]
    parts.append(value.data)
    return [value.codec, value.size, value.type_name, len(parts) - 1]


def _read_value(data: list[Any], parts: list[bytes]) -> Value:
    codec, size, type_name, place = data
    if isinstance(place, int):
        return Value(codec, size, data=parts[place], type_name=type_name)
    return Value(codec, size, digest=Digest(cast("str", place)), type_name=type_name)


def _join(head: list[Any], parts: list[bytes]) -> bytes:
    line = json.dumps([head, [len(p) for p in parts]], separators=(",", ":"))
    return b"".join((line.encode("ascii"), b"\n", *parts))


def _split(data: bytes) -> tuple[Any, list[bytes]]:
    end = data.index(b"\n")
    head, lengths = json.loads(data[:end])
    parts: list[bytes] = []
    at = end + 1
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return head, parts


def _stamp(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def _time(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
