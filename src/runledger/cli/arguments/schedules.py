"""The arguments of `runledger schedule`."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options
from runledger.cli.arguments.values import duration_parser, parse_count, parse_instant, parse_organization_id
from runledger.cli.failures import BadInputError

_SCHEDULE = """\
Schedules make jobs by themselves, at the times of a cron expression in a time zone.
Schedules of all organizations are found. They need a scheduler to run, which
`runledger worker` has.

A payload may hold secrets: it is shown only with --show-payload.
"""

_SCHEDULE_SET = """\
Make a schedule, or change what is given of one that there is. A new one needs --type
and --cron. One that exists keeps its organization and whether it is paused; when it
is due next changes only with --cron, --timezone and --next-fire-at.

DURATION is a number of seconds, or has a unit: 30s, 5m, 1h, 1d.
"""

_SCHEDULE_NEXT = """\
Print the coming times of a cron expression, local and in UTC. No database is needed.
Five fields are minute, hour, day of month, month and day of week, as in Vixie cron;
six begin with the second, and a seventh is the year. Jitter is not shown: it depends
on the schedule.
"""


def add_schedule(add_parser: AddParser) -> None:
    """Add ``schedule`` and its actions."""
    parser = add_parser(
        "schedule",
        help="list, show, make, change, pause, resume and delete schedules",
        description=_SCHEDULE,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_schedule_list(actions.add_parser)
    _add_schedule_set(actions.add_parser)
    for action, meaning in (
        ("show", "show one schedule"),
        ("pause", "let a schedule make no jobs; those that there are still run"),
        ("resume", "let a paused schedule make jobs again, from its next time on"),
        ("delete", "delete a schedule; its jobs stay"),
    ):
        one = actions.add_parser(action, help=meaning, description=_SCHEDULE, epilog=ENVIRONMENT_AND_CODES)
        one.add_argument("name", metavar="NAME", help="the schedule")
        if action != "delete":
            _add_schedule_output(one)
        add_database_options(one, default=argparse.SUPPRESS)
    _add_schedule_next(actions.add_parser)


def check_schedule_changes(arguments: argparse.Namespace) -> None:
    """Refuse a change that changes nothing."""
    changes = (
        arguments.job_type,
        arguments.cron_expr,
        arguments.timezone,
        arguments.payload,
        arguments.max_jitter,
        arguments.catch_up,
        arguments.catch_up_limit,
        arguments.overlap,
        arguments.next_fire_at,
    )
    if all(change is None for change in changes):
        raise BadInputError("nothing is to be changed; see `runledger schedule set --help`")


def _add_schedule_list(add_parser: AddParser) -> None:
    parser = add_parser("list", help="list schedules", description=_SCHEDULE, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("filter", metavar="TEXT", nargs="?", help="only names with this text in them, in any case")
    parser.add_argument("--type", dest="job_type", metavar="TYPE", help="only those that make jobs of this type")
    _add_schedule_output(parser)
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_schedule_set(add_parser: AddParser) -> None:
    parser = add_parser(
        "set", help="make or change a schedule", description=_SCHEDULE_SET, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("name", metavar="NAME", help="the schedule")
    parser.add_argument("--type", dest="job_type", metavar="TYPE", help="the type of its jobs")
    parser.add_argument("--cron", dest="cron_expr", metavar="EXPRESSION", help="when it is due, such as '30 2 * * *'")
    parser.add_argument("--timezone", metavar="ZONE", help="whose local time that is; default: UTC")
    parser.add_argument("--payload", metavar="JSON", help="the payload of its jobs; default: {}")
    parser.add_argument(
        "--jitter", dest="max_jitter", type=duration_parser("0s"), metavar="DURATION", help="how late it may be at most"
    )
    parser.add_argument(
        "--catch-up",
        choices=("latest", "skip", "all"),
        help="which due times fire when several have passed; default: latest",
    )
    parser.add_argument(
        "--catch-up-limit", type=parse_count, metavar="N", help="how many fire at most with --catch-up all"
    )
    parser.add_argument(
        "--overlap", choices=("allow", "skip"), help="whether it fires while its last job has not ended; default: allow"
    )
    parser.add_argument(
        "--next-fire-at",
        type=parse_instant,
        metavar="INSTANT",
        help="when it is due next, such as 2026-12-01T02:30Z; or now",
    )
    new = parser.add_argument_group("for a new schedule")
    new.add_argument(
        "--organization",
        dest="organization_id",
        type=parse_organization_id,
        metavar="UUID",
        help="the organization that it and its jobs belong to",
    )
    new.add_argument("--paused", dest="is_paused", action="store_true", help="make it, but do not let it fire yet")
    _add_schedule_output(parser)
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_schedule_next(add_parser: AddParser) -> None:
    parser = add_parser("next", help="print the coming times of an expression", description=_SCHEDULE_NEXT)
    parser.add_argument("cron_expr", metavar="EXPRESSION", help="in one word: '30 2 * * *'")
    parser.add_argument("--timezone", metavar="ZONE", default="UTC", help="an IANA name; default: UTC")
    parser.add_argument("--count", type=parse_count, metavar="N", default=5, help="how many times; default: 5")
    parser.add_argument("--after", type=parse_instant, metavar="INSTANT", help="default: now")
    parser.add_argument("--json", action="store_true", help="print one JSON object: times, in UTC")


def _add_schedule_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object; times in UTC")
    parser.add_argument("--show-payload", action="store_true", help="show the payload too")
