"""Instants and lengths of time as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

_WRITTEN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d)?", re.ASCII)
_SECONDS_OF = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_ONE_SECOND_MS = 1_000
# From here on two decimals would be rounded up to 60 s.
_NEARLY_ONE_MINUTE_MS = 59_995
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def parse_duration(text: str) -> timedelta:
    """Return what a text such as ``30``, ``0.5s``, ``250ms``, ``5m``, ``1h`` or ``3d`` means; no unit is seconds.

    Raises:
        ValueError: The text is no duration, or one that Python cannot hold.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError("not a duration")
    try:
        return timedelta(seconds=float(match["number"]) * _SECONDS_OF[match["unit"] or "s"])
    except OverflowError as error:
        raise ValueError("too long") from error


def describe_duration(duration: timedelta) -> str:
    """Return a duration in at most two units: ``12 ms``, ``3.42 s``, ``2 min 5 s``, ``3 d 4 h``."""
    if duration < timedelta():
        return f"-{describe_duration(-duration)}"
    milliseconds = round(duration / timedelta(milliseconds=1))
    if milliseconds < _ONE_SECOND_MS:
        return f"{milliseconds} ms"
    if milliseconds < _NEARLY_ONE_MINUTE_MS:
        return f"{milliseconds / _ONE_SECOND_MS:.2f}".rstrip("0").rstrip(".") + " s"
    seconds = round(milliseconds / _ONE_SECOND_MS)
    (size, unit), (smaller_size, smaller_unit) = next(pair for pair in pairwise(_UNITS) if seconds >= pair[0][0])
    count, rest = divmod(seconds, size)
    smaller_count = rest // smaller_size
    return f"{count} {unit} {smaller_count} {smaller_unit}" if smaller_count else f"{count} {unit}"


def describe_instant(instant: datetime) -> str:
    """Return an instant in UTC, in ISO 8601 with microseconds and ``Z``."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
