"""What the words of options mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runledger.cli.times import parse_duration

if TYPE_CHECKING:
    from uuid import UUID  # 8 ms, and few commands need it

_MOST_DIGITS = 100


def parse_text(text: str) -> str:
    """Return a text that is not blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is blank; leave the option out to get the default")
    return text


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not _is_number(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{_shown(text)} is no whole number of at least 1")
    return int(text)


def parse_line_id(text: str) -> int:
    """Return the id of a line of a log."""
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is no id of a line; --json shows them")
    return int(text)


def parse_integer(text: str) -> int:
    """Return a whole number."""
    if not _is_number(text.removeprefix("-")):
        raise argparse.ArgumentTypeError(f"{_shown(text)} is no whole number")
    return int(text)


def parse_type_and_count(text: str) -> tuple[str, int]:
    """Return what ``TYPE=N`` says."""
    job_type, is_given, count = text.rpartition("=")
    if not is_given or not job_type.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=N, such as email.send=4")
    return job_type, parse_count(count)


def duration_parser(minimum: str) -> Callable[[str], timedelta]:
    """Return what reads a duration of at least ``minimum``."""

    def convert(text: str) -> timedelta:
        try:
            duration = parse_duration(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 0.5, 250ms, 30s, 5m, 1h or 3d") from None
        if duration < parse_duration(minimum):
            raise argparse.ArgumentTypeError(f"{text!r} is too short; give at least {minimum}")
        return duration

    return convert


def parse_instant(text: str) -> datetime:
    """Return an instant."""
    if text == "now":
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant; write 2026-12-01T02:30Z, or now") from None
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; add Z for UTC, or an offset such as +01:00")
    return instant


def parse_job_id(text: str) -> UUID:
    """Return the id of a job."""
    return _uuid(text, what="job id", remedy="give the UUID that enqueue returned")


def parse_run_id(text: str) -> UUID:
    """Return the id of a run of a workflow."""
    return _uuid(text, what="id of a run", remedy="give the UUID that enqueue_workflow returned")


def parse_organization_id(text: str) -> UUID:
    """Return the id of an organization."""
    return _uuid(text, what="organization", remedy="give the UUID that the job was enqueued with")


def _is_number(text: str) -> bool:
    """Whether a text is a whole number. Python reads none of thousands of digits, and no option takes one."""
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _shown(text: str) -> str:
    from runledger.core.printable import shortened  # of a package that the start of the program does not wait for

    return repr(shortened(text))


def _uuid(text: str, *, what: str, remedy: str) -> UUID:
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what}; {remedy}, such as 0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e"
        ) from None
