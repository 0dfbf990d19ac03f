"""The arguments of the commands about jobs."""

from __future__ import annotations

import argparse
from datetime import timedelta

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import (
    duration_parser,
    parse_count,
    parse_job_id,
    parse_line_id,
    parse_organization_id,
)
from runledger.cli.failures import BadInputError

# Written out: the enumeration would load the core, and most commands need no status.
_STATUSES = ("PENDING", "LEASED", "SUCCEEDED", "DEAD_LETTERED", "CANCELED")

_JOB = """\
Tell what a job is, where it stands, and everything that happened to it. Jobs of
all organizations are found.

Payload, checkpoint, output and idempotency key may hold secrets: they are shown
only with --show-payload. Codes and messages of failures are always shown.
"""

_JOBS = """\
List jobs, newest first, without payloads; those of all organizations, unless one is
named. A filter that lets few jobs through reads many: those by status are fast where
jobs wait, run, were given up or canceled.
"""

_METRICS = """\
Tell for each job type how many jobs wait and run, and what its attempts of the last
time came to: how they ended, and how long they took. It reads 10,000 attempts at most:
on a busy system the time is shorter than asked for, and the first line says how long.
"""

_LOGS = """\
Print what the handler of a job logged, oldest first. Times count from when the job was
enqueued. What was logged besides the message may hold secrets: it is shown only with
--show-payload. The job is named as for `runledger payload`.
"""

_PAYLOAD = """\
Print the payload of a job, and nothing else: as JSON, or on a terminal with every
character escaped that it would obey. It may hold secrets.

The job is named by its id, and may then belong to any organization; or by its type
and the idempotency key it was enqueued with, and by its organization if it has one.
"""

_CANCEL = """\
Cancel jobs that have not ended, of any organization; each in a transaction of its
own, so that one that is refused does not keep the others. A handler that runs is told
at once, or at the latest at the next renewal of its lease, and its outcome is not kept.
"""

_REQUEUE = """\
Start jobs that have ended over, of any organization: a new run, due at once; each in
a transaction of its own, so that one that is refused does not keep the others. A job
that was canceled is refused as long as its handler may still be running.
"""


def add_jobs(add_parser: AddParser) -> None:
    """Add ``jobs``."""
    parser = add_parser("jobs", help="list jobs", description=_JOBS, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("--status", type=str.upper, choices=_STATUSES, help="only jobs with it, in any case of letters")
    parser.add_argument("--type", dest="job_type", metavar="TYPE", help="only jobs of exactly this type")
    parser.add_argument(
        "--type-contains",
        dest="job_type_contains",
        metavar="TEXT",
        help="only types with this text in them, in any case",
    )
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument(
        "--organization",
        dest="organization_id",
        type=parse_organization_id,
        metavar="UUID",
        help="only those of this one",
    )
    owner.add_argument("--no-organization", action="store_true", help="only those of no organization")
    parser.add_argument("--limit", type=parse_count, metavar="N", default=20, help="how many jobs at most; default: 20")
    parser.add_argument("--json", action="store_true", help="print one JSON object: jobs; times in UTC")
    add_database_options(parser, default=argparse.SUPPRESS)


def add_metrics(add_parser: AddParser) -> None:
    """Add ``metrics``."""
    parser = add_parser(
        "metrics", help="count jobs and attempts by type", description=_METRICS, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--type", dest="job_type", metavar="TYPE", help="only exactly this type")
    parser.add_argument(
        "--window",
        type=duration_parser("1s"),
        metavar="DURATION",
        default=timedelta(days=1),
        help="how far to look back at most; default: 24h",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: metrics, since, until; times in UTC"
    )
    add_database_options(parser, default=argparse.SUPPRESS)


def add_job(add_parser: AddParser) -> None:
    """Add ``job``."""
    parser = add_parser("job", help="tell the story of a job", description=_JOB, epilog=ENVIRONMENT_AND_CODES)
    _add_job_choice(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object: job, attempts, events, dead_letter, logs; times in UTC",
    )
    parser.add_argument(
        "--show-payload", action="store_true", help="show payload, checkpoint, output and idempotency key too"
    )
    add_database_options(parser, default=argparse.SUPPRESS)


def add_logs(add_parser: AddParser) -> None:
    """Add ``logs``."""
    parser = add_parser("logs", help="print the log of a job", description=_LOGS, epilog=ENVIRONMENT_AND_CODES)
    _add_job_choice(parser)
    parser.add_argument(
        "--after", type=parse_line_id, metavar="LINE", default=0, help="only lines after the one of this id"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each line; times in UTC")
    parser.add_argument("--show-payload", action="store_true", help="show what was logged besides the message too")
    add_database_options(parser, default=argparse.SUPPRESS)


def add_payload(add_parser: AddParser) -> None:
    """Add ``payload``."""
    parser = add_parser(
        "payload", help="print the payload of a job", description=_PAYLOAD, epilog=ENVIRONMENT_AND_CODES
    )
    _add_job_choice(parser)
    add_database_options(parser, default=argparse.SUPPRESS)


def check_job_choice(arguments: argparse.Namespace) -> None:
    """Refuse what names no job, or two."""
    is_keyed = (arguments.job_type, arguments.idempotency_key, arguments.organization_id) != (None, None, None)
    if arguments.job_id is not None and is_keyed:
        problem = "an id names a job of any type and organization; give the id alone, or --type and --key"
    elif arguments.job_id is None and arguments.idempotency_key is not None and arguments.job_type is None:
        problem = "--type is missing; a key is one of a job type"
    elif arguments.job_id is None and None in (arguments.job_type, arguments.idempotency_key):
        problem = "no job is named; give its id, or --type and --key"
    else:
        return
    raise BadInputError(f"{problem}; see `runledger {arguments.command} --help`")


def _add_job_choice(parser: argparse.ArgumentParser) -> None:
    """Add the two ways of naming a job; which one was taken the command finds out."""
    parser.add_argument("job_id", type=parse_job_id, metavar="ID", nargs="?", help="the UUID that enqueue returned")
    group = parser.add_argument_group("instead of the id")
    group.add_argument("--type", dest="job_type", metavar="TYPE", help="the type it was enqueued with")
    group.add_argument("--key", dest="idempotency_key", metavar="KEY", help="the idempotency key")
    group.add_argument(
        "--organization",
        dest="organization_id",
        type=parse_organization_id,
        metavar="UUID",
        help="the organization whose key it is; without it the key is one of no organization",
    )


def add_cancel(add_parser: AddParser) -> None:
    """Add ``cancel``."""
    parser = add_parser("cancel", help="cancel jobs", description=_CANCEL, epilog=ENVIRONMENT_AND_CODES)
    _add_control_options(parser, done="canceled")


def add_requeue(add_parser: AddParser) -> None:
    """Add ``requeue``."""
    parser = add_parser("requeue", help="start jobs over", description=_REQUEUE, epilog=ENVIRONMENT_AND_CODES)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--keep-progress", action="store_true", help="keep counts and checkpoint, so that handlers go on from there"
    )
    way.add_argument("--at-once", action="store_true", help="also while a canceled handler may still be running")
    _add_control_options(parser, done="requeued")


def _add_control_options(parser: argparse.ArgumentParser, *, done: str) -> None:
    parser.add_argument("job_ids", type=parse_job_id, metavar="ID", nargs="+", help="the UUIDs that enqueue returned")
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the job and its event")
    parser.add_argument("--json", action="store_true", help=f"print one JSON object: {done}, refused; without payloads")
    add_database_options(parser, default=argparse.SUPPRESS)
