"""Times as people read and write them: durations, ages, moments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shoal.errors import InvalidInputError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhdw])+\Z")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt])?(i?b)?\Z")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def duration_text(span: timedelta) -> str:
    """Return a duration in at most two units: `0.3s`, `12s`, `4m05s`, `2h10m`, `3d4h`; a negative one counts as none."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 10:  # noqa: PLR2004 - below ten seconds tenths are worth reading
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def took_text(started: datetime | None, finished: datetime | None, now: datetime) -> str:
    """Return how long something took, or has taken so far; empty if it has not started."""
    return duration_text((finished or now) - started) if started else ""


def ago_text(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was: `12s ago`, `3h05m ago`."""
    span = now - moment
    return f"{duration_text(span)} ago" if span > timedelta(seconds=1) else "just now"


def iso(moment: datetime | None) -> str | None:
    """Return a moment in ISO 8601, UTC, to the millisecond; None of None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock_text(moment: datetime) -> str:
    """Return the time of day in the local time zone."""
    return moment.astimezone().strftime("%H:%M:%S")


def moment_text(moment: datetime, now: datetime) -> str:
    """Return a moment in local time, and how long ago it was."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({ago_text(moment, now)})"


def parse_age(text: str) -> timedelta:
    """Return an age such as `30d`, `12h` or `1w2d`.

    Raises:
        InvalidInputError: The text has another form.
    """
    if not _AGE.match(text.strip()):
        raise InvalidInputError(f"{text!r} is no age", hint="write a number and a unit: 45m, 12h, 30d, 2w")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def parse_size(text: str) -> int:
    """Return a number of bytes such as `500MiB`, `10GB` or `1g`; the powers are those of 1024 but for `kB`, `MB`, `GB`, `TB`.

    Raises:
        InvalidInputError: The text has another form.
    """
    match = _SIZE.match(text.strip().lower())
    if match is None:
        raise InvalidInputError(f"{text!r} is no size", hint="write a number and a unit: 500MiB, 10GiB")
    number, prefix, unit = match.groups()
    return int(float(number) * (1000 if prefix and unit == "b" else 1024) ** (" kmgt".index(prefix or " ")))


def bytes_text(count: int) -> str:
    """Return a number of bytes: `812 B`, `4.2 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004 - the factor of the units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
