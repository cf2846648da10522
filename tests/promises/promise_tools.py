"""Tools that note each of their attempts in a file, so that a test can hold a run against what it promises."""

import json
import os
import time

from shoal import ToolContext, continuation


def _note(log: str, context: ToolContext) -> None:
    line = {
        "run": context.run_id,
        "step": context.step,
        "attempt": context.attempt,
        "key": context.idempotency_key,
        "at": time.time(),
    }
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def work(log: str, context: ToolContext, value: int = 0, seconds: float = 0.0) -> dict:
    """Return one more than a number, after a while."""
    _note(log, context)
    time.sleep(seconds)
    return {"value": value + 1}


def large(log: str, context: ToolContext, size: int) -> dict:
    """Return text that is a blob."""
    _note(log, context)
    return {"text": "x" * size}


def measure(log: str, context: ToolContext, text: str) -> dict:
    """Return the length of a text."""
    _note(log, context)
    return {"value": len(text)}


def total(log: str, context: ToolContext, values: list) -> dict:
    """Return a sum."""
    _note(log, context)
    return {"value": sum(values)}


def countdown(log: str, context: ToolContext, n: int, told: int = 0) -> object:
    """Answer with oneself until nothing is left."""
    _note(log, context)
    if n == 0:
        return {"value": told}
    return continuation("promise_tools:countdown", {"log": log, "n": n - 1, "told": told + n})


def flaky(log: str, context: ToolContext, fails: int) -> dict:
    """Raise so many times, then return the number of the attempt."""
    _note(log, context)
    with open(log) as lines:
        mine = sum(1 for line in lines if json.loads(line)["key"] == context.idempotency_key)
    if mine <= fails:
        raise RuntimeError(f"attempt {mine} fails")
    return {"value": 1}


def cleanup(log: str, context: ToolContext) -> dict:
    """Do nothing, at the end."""
    _note(log, context)
    return {}
