"""What the arguments of several commands share: options that all of them have, and the values of options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from runledger.cli.times import parse_duration

if TYPE_CHECKING:
    from uuid import UUID  # 8 ms, and few commands need it

URL_VARIABLES = ("RUNLEDGER_DATABASE_URL", "DATABASE_URL")
SCHEMA_VARIABLE = "RUNLEDGER_SCHEMA"
DEFAULT_SERVER_NAME = "default"

AddParser: TypeAlias = Callable[..., argparse.ArgumentParser]

ENVIRONMENT_AND_CODES = """\
environment:
  RUNLEDGER_DATABASE_URL  the database, where neither --database-url nor
                          --embedded is given
  DATABASE_URL            the same, where that is not set either
  RUNLEDGER_SCHEMA        the schema, where --schema is not given
A URL in a variable keeps its password out of the list of processes.

exit codes:
  0  done
  1  it could not be done: the database cannot be reached, its tables are not
     migrated or not of this version, there is no such job, or a rule forbids it
  2  an argument or a variable cannot be used
"""


def add_database_options(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add the options of all commands that work in a database.

    Args:
        parser: The program's, or a command's: the options may stand before the command and after it.
        default: ``SUPPRESS`` for a command, whose default would replace what stands before the command.
    """
    group = parser.add_argument_group("where the tables are")
    group.add_argument("--database-url", metavar="URL", default=default, help="PostgreSQL URL or libpq text")
    group.add_argument(
        "--embedded",
        metavar="NAME",
        nargs="?",
        const=DEFAULT_SERVER_NAME,
        default=default,
        help="instead of a URL: the database NAME on the embedded server NAME, which is started if need be; "
        f"without NAME {DEFAULT_SERVER_NAME!r}",
    )
    group.add_argument(
        "--schema", metavar="SCHEMA", default=default, help="the schema of the tables; default: runledger"
    )


def nonblank_text(text: str) -> str:
    """Read a text that is not blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is blank; leave the option out to get the default")
    return text


def positive_count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def line_id(text: str) -> int:
    """Read the id of a line of a log."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a line; --json shows them")
    return int(text)


def whole_number(text: str) -> int:
    """Read a whole number."""
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def type_and_count(text: str) -> tuple[str, int]:
    """Read ``TYPE=N``."""
    job_type, is_given, count = text.rpartition("=")
    if not is_given or not job_type.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=N, such as email.send=4")
    return job_type, positive_count(count)


def duration_from(minimum: str) -> Callable[[str], timedelta]:
    """Return what reads a duration of at least so much."""

    def convert(text: str) -> timedelta:
        try:
            duration = parse_duration(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 0.5, 250ms, 30s, 5m or 1h") from None
        if duration < parse_duration(minimum):
            raise argparse.ArgumentTypeError(f"{text!r} is too short; give at least {minimum}")
        return duration

    return convert


def instant(text: str) -> datetime:
    """Read an instant with a time zone."""
    if text == "now":
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant; write 2026-12-01T02:30Z, or now") from None
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; add Z for UTC, or an offset such as +01:00")
    return instant


def job_id(text: str) -> UUID:
    """Read the id of a job."""
    return _uuid(text, what="job id", remedy="give the UUID that enqueue returned")


def organization_id(text: str) -> UUID:
    """Read the id of an organisation."""
    return _uuid(text, what="organization", remedy="give the UUID that the job was enqueued with")


def _uuid(text: str, *, what: str, remedy: str) -> UUID:
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no {what}; {remedy}, such as 0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e"
        ) from None


def run_id(text: str) -> UUID:
    """Read the id of a workflow run."""
    return _uuid(text, what="run of a workflow", remedy="give the UUID of the handle that enqueue_workflow returned")
