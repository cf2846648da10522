"""Durations and sizes as the language writes them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

MAX_DURATION: Final = timedelta(days=36_500)
"""The longest duration there is; a date after it could not be written."""

_PARTS = re.compile(
    r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?\Z"
)
_SECONDS: Final = (604_800.0, 86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kKMGTP]?)(i?)[bB]?\Z")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?\Z")
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def parse_duration(value: object) -> timedelta:
    """Return a duration given as seconds (`90`, `0.5`, `"90"`) or as text (`1h30m5s`, `2d`, `250ms`).

    Raises:
        ValueError: It is no duration, is negative, or is longer than 100 years.
    """
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e12 else math.inf  # noqa: PLR2004 - far beyond the longest
    elif isinstance(value, str):
        text = value.strip()
        match = _PARTS.match(text)
        if _NUMBER.match(text):
            seconds = float(text)
        elif text and match:
            seconds = sum(float(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part)
    if seconds is None:
        raise ValueError("write seconds (90) or a duration such as 1h30m5s, 2d or 250ms")
    if not 0 <= seconds <= MAX_DURATION.total_seconds():
        raise ValueError("a duration lies between 0 and 100 years")
    return timedelta(seconds=seconds)


def parse_size(value: object) -> int:
    """Return bytes given as a number or as text: `512MiB` and `2Gi` count by 1,024, `2G` and `500MB` by 1,000.

    Raises:
        ValueError: It is no size, or not at least one byte.
    """
    size: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        size = float(value) if math.isfinite(value) and abs(value) < 1e18 else None  # noqa: PLR2004
    elif isinstance(value, str) and (match := _SIZE.match(value.strip())):
        number, unit, binary = match.groups()
        if unit or not binary:
            size = float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()]
    if size is None or size < 1:
        raise ValueError("write bytes (1048576) or a size such as 512MiB or 2G")
    return int(size)
