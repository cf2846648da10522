"""Identifiers and step paths.

Owns the shape of every id. A step's path is its name (`NAME`), an item's `NAME[3]`, a spawned step's `NAME/7`; a spawned
step that is itself a `foreach` has items `NAME/7[0]`. A second entry of a `finally` step is `NAME#2`.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from typing import Final, NewType

RunId = NewType("RunId", str)
WorkflowId = NewType("WorkflowId", str)
StepName = NewType("StepName", str)
StepPath = NewType("StepPath", str)
AttemptId = NewType("AttemptId", str)
OwnerId = NewType("OwnerId", str)
Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256, 64 characters."""

WORKFLOW_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
STEP_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_ITEM: Final = re.compile(r"(?P<owner>.+)\[(?P<index>\d+)\]\Z")
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id() -> RunId:
    """Return a new run id of 20 characters that sorts by its time of making (48 bits of milliseconds, 52 random bits)."""
    number = (time.time_ns() // 1_000_000) << 52 | secrets.randbits(52)
    return RunId("".join(_ALPHABET[number >> shift & 31] for shift in range(95, -5, -5)))


def new_attempt_id() -> AttemptId:
    """Return a random attempt id (96 bits)."""
    return AttemptId(os.urandom(12).hex())


def new_owner_id() -> OwnerId:
    """Return a random owner id (64 bits)."""
    return OwnerId(os.urandom(8).hex())


def item_path(owner: StepPath, index: int) -> StepPath:
    """Return the path of an item of a `foreach` step."""
    return StepPath(f"{owner}[{index}]")


def spawned_path(top: StepPath, number: int) -> StepPath:
    """Return the path of the `number`-th step spawned below a top-level step."""
    return StepPath(f"{top}/{number}")


def split_item(path: StepPath) -> tuple[StepPath, int] | None:
    """Return owner and index of an item's path; None if the path is not an item's."""
    match = _ITEM.match(path)
    return (StepPath(match["owner"]), int(match["index"])) if match else None


def top_level(path: StepPath) -> StepPath:
    """Return the path of the top-level step under which a path lies."""
    return StepPath(re.split(r"[/\[]", path, maxsplit=1)[0])


def idempotency_key(run_id: RunId, path: StepPath) -> str:
    """Return the key that is the same for every attempt of a step."""
    return f"{run_id}:{path}"
