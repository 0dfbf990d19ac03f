"""The arguments of the commands about workers."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import duration_parser, parse_count, parse_text, parse_type_and_count

_WORKER = """\
Run a worker for the job types of a registry, a scheduler and a reaper, until SIGTERM
or Ctrl-C. Either stops it gracefully: it claims no more, lets running handlers go on for the
shutdown timeout, and exits with 0. A second one cancels the handlers.

Settings that are not given come from the JOBS_* variables, else from the defaults.
DURATION is a number of seconds, or has a unit: 250ms, 30s, 5m, 1h, 1d.
"""

_WORKERS = """\
List the workers: where they run, what they serve, and when they were last heard of.
A worker that has not been heard of for its lease time is dead, and is listed for an
hour. Jobs that it held are returned by the reaper of another one.
"""


def add_worker(add_parser: AddParser) -> None:
    """Add ``worker``."""
    parser = add_parser("worker", help="run jobs until told to stop", description=_WORKER, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument(
        "registry",
        metavar="MODULE:ATTRIBUTE",
        help="where the JobRegistry or JobCatalog is, for example app.jobs:registry; modules of the current directory "
        "are found",
    )
    parser.add_argument(
        "--worker-id", type=parse_text, metavar="ID", help="unique among live workers; default: a new one"
    )
    parser.add_argument("--concurrency", type=parse_count, metavar="N", help="jobs that run at once")
    parser.add_argument(
        "--type-concurrency",
        type=parse_type_and_count,
        metavar="TYPE=N",
        action="append",
        help="the same for the jobs of one type; may be given several times",
    )
    parser.add_argument("--batch-size", type=parse_count, metavar="N", help="jobs that one claim takes at most")
    # The minima of the variables.
    for option, minimum, meaning in (
        ("--poll-interval", "1ms", "wait after a claim that found less than it asked for"),
        ("--lease-ttl", "10s", "how long a job stays with a worker that no longer renews its lease"),
        ("--schedule-poll-interval", "1s", "longest wait before schedules that were changed are noticed"),
        ("--reaper-interval", "1s", "wait between two searches for leases that have ended"),
        ("--shutdown-timeout", "0s", "how long running handlers may go on after a stop was asked for"),
    ):
        parser.add_argument(option, type=duration_parser(minimum), metavar="DURATION", help=meaning)
    parser.add_argument(
        "--no-scheduler", dest="runs_scheduler", action="store_false", help="make no jobs of schedules that are due"
    )
    parser.add_argument(
        "--log-level",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="in any case; default: info",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="form of the log on standard error; default: text",
    )
    add_database_options(parser, default=argparse.SUPPRESS)


def add_workers(add_parser: AddParser) -> None:
    """Add ``workers``."""
    parser = add_parser("workers", help="list the workers", description=_WORKERS, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("--json", action="store_true", help="print one JSON object: workers; times in UTC")
    add_database_options(parser, default=argparse.SUPPRESS)
