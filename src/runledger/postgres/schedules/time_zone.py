"""Time zones by name. The rules are in files of the host, or in the package ``tzdata``."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runledger.core.errors import InvalidArgumentError
from runledger.core.schedules.schedule import check_timezone_text

_UTC = "UTC"
_SHOWN = 64  # characters of what may be any text


def time_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name, such as ``Europe/Berlin``. ``UTC`` needs no file.

    Raises:
        InvalidArgumentError: ``job_schedule.invalid_timezone``: this host knows no such zone.
    """
    check_timezone_text(name)
    if name == _UTC:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; no relative path; a directory, or not to be read
        pass
    raise InvalidArgumentError(
        "timezone",
        f"is not a time zone that this host knows ({name[:_SHOWN]!r})",
        "pass an IANA name, for example 'Europe/Berlin'; where files of time zones are missing, install tzdata",
        code="job_schedule.invalid_timezone",
    )
