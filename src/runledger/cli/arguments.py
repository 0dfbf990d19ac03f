"""The arguments of the program: every command, every option, and the help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from runledger.cli.argument_values import (
    DEFAULT_SERVER_NAME,
    ENVIRONMENT_AND_CODES,
    AddParser,
    add_database_options,
    duration_from,
    instant,
    job_id,
    line_id,
    nonblank_text,
    organization_id,
    positive_count,
    type_and_count,
    whole_number,
)
from runledger.cli.failures import BadInputError
from runledger.cli.workflow_arguments import add_workflow

# Written out: the enumeration would load the core, and most commands need no status.
_STATUSES = ("PENDING", "LEASED", "SUCCEEDED", "DEAD_LETTERED", "CANCELED")

_MIGRATE = """\
Create or upgrade Runledger's tables, in one transaction. Of many processes that
start at once one migrates; the others wait and find nothing to do.

With --sql nothing is done and no database is needed: the statements are printed,
for those who apply them with a tool of their own.
"""

_CHECK = """\
Compare the tables with this version, and say what differs and what to do. Only
reads; it is meant for deployments whose tables are migrated by somebody else.
"""

_GRANTS = """\
Print the statements that give roles the least rights for their duties. Nothing is
done, and no database is needed. The roles have to exist when the statements run.
"""

_WORKER = """\
Run a worker for the job types of a registry, a scheduler and a reaper, until SIGTERM
or Ctrl-C. Either stops it gracefully: it claims no more, lets running handlers go on for the
shutdown timeout, and exits with 0. A second one cancels the handlers.

Settings that are not given come from the JOBS_* variables, else from the defaults.
DURATION is a number of seconds, or has a unit: 250ms, 30s, 5m, 1h.
"""

_WORKERS = """\
List the workers: where they run, what they serve, and when they were last heard of.
A worker that has not been heard of for its lease time is dead, and is listed for an
hour. Jobs that it held are returned by the reaper of another one.
"""

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

_DEFINITION = """\
Definitions say which job types exist, and which defaults their jobs copy when they
are enqueued: a change leaves existing jobs alone.

A type that is disabled takes no new jobs: to enqueue one is refused with
job.definition_not_found_or_disabled. The jobs that it has are still run.

A type that is paused takes new jobs, and they wait: none of its jobs is claimed until
it is resumed. Those that run go on.
"""

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

DURATION is a number of seconds, or has a unit: 30s, 5m, 1h.
"""

_SCHEDULE_NEXT = """\
Print the coming times of a cron expression, local and in UTC. No database is needed.
Five fields are minute, hour, day of month, month and day of week, as in Vixie cron;
six begin with the second, and a seventh is the year. Jitter is not shown: it depends
on the schedule.
"""

_CANCEL = """\
Cancel jobs that have not ended, of any organization; each in a transaction of its
own, so that one that is refused does not keep the others. A handler that runs hears
of it at the next renewal of its lease, and its outcome is not kept.
"""

_REQUEUE = """\
Start jobs that have ended over, of any organization: a new run, due at once; each in
a transaction of its own, so that one that is refused does not keep the others. A job
that was canceled is refused as long as its handler may still be running.
"""

_EMBEDDED = """\
Start the embedded server NAME, which needs no installed PostgreSQL, with a database
of the same name; print its URL, and keep it running until SIGTERM or Ctrl-C. The data
stay for the next start. It is for first steps and development.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; ``command`` of its result names the command."""
    parser = _Parser(prog="runledger", description="Durable jobs in your own PostgreSQL.", epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("--version", action=_ShowVersion, help="show the version and exit")
    add_database_options(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_migrate(commands.add_parser)
    _add_check(commands.add_parser)
    _add_grants(commands.add_parser)
    _add_worker(commands.add_parser)
    _add_workers(commands.add_parser)
    _add_jobs(commands.add_parser)
    _add_metrics(commands.add_parser)
    _add_job(commands.add_parser)
    _add_logs(commands.add_parser)
    _add_payload(commands.add_parser)
    _add_definition(commands.add_parser)
    _add_schedule(commands.add_parser)
    add_workflow(commands.add_parser)
    _add_cancel(commands.add_parser)
    _add_requeue(commands.add_parser)
    _add_embedded(commands.add_parser)
    return parser


def check_together(arguments: argparse.Namespace) -> None:
    """Refuse arguments of which each is right, but not all of them together, where argparse cannot.

    Raises:
        BadInputError: They cannot be used.
    """
    if arguments.command in {"job", "logs", "payload"}:
        _check_job_choice(arguments)
    elif arguments.command == "definition" and arguments.action == "set":
        _check_changes(arguments)
    elif arguments.command == "schedule" and arguments.action == "set":
        _check_schedule_changes(arguments)


def _add_migrate(add_parser: AddParser) -> None:
    parser = add_parser(
        "migrate", help="create or upgrade the tables", description=_MIGRATE, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument(
        "--sql",
        metavar="VERSION",
        nargs="?",
        const="",
        help="print the statements instead: of all migrations, or of VERSION",
    )
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_check(add_parser: AddParser) -> None:
    parser = add_parser(
        "check", help="compare the tables with this version", description=_CHECK, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_grants(add_parser: AddParser) -> None:
    parser = add_parser(
        "grants", help="print the rights that roles need", description=_GRANTS, epilog=ENVIRONMENT_AND_CODES
    )
    for duty, meaning in (
        ("migrator", "the role that owns the schema and migrates"),
        ("worker", "the role that runs jobs"),
        ("producer", "the role that enqueues jobs and reads what became of them"),
    ):
        parser.add_argument(f"--{duty}", metavar="ROLE", help=meaning)
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_worker(add_parser: AddParser) -> None:
    parser = add_parser("worker", help="run jobs until told to stop", description=_WORKER, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument(
        "registry",
        metavar="MODULE:ATTRIBUTE",
        help="where the JobRegistry is, for example app.jobs:registry; modules of the current directory are found",
    )
    parser.add_argument(
        "--worker-id", type=nonblank_text, metavar="ID", help="unique among live workers; default: a new one"
    )
    parser.add_argument("--concurrency", type=positive_count, metavar="N", help="jobs that run at once")
    parser.add_argument(
        "--type-concurrency",
        type=type_and_count,
        metavar="TYPE=N",
        action="append",
        help="the same for the jobs of one type; may be given several times",
    )
    parser.add_argument("--batch-size", type=positive_count, metavar="N", help="jobs that one claim takes at most")
    # The minima of the variables.
    for option, minimum, meaning in (
        ("--poll-interval", "1ms", "wait after a claim that found less than it asked for"),
        ("--lease-ttl", "10s", "how long a job stays with a worker that no longer renews its lease"),
        ("--schedule-poll-interval", "1s", "longest wait before schedules that were changed are noticed"),
        ("--reaper-interval", "1s", "wait between two searches for leases that have ended"),
        ("--shutdown-timeout", "0s", "how long running handlers may go on after a stop was asked for"),
    ):
        parser.add_argument(option, type=duration_from(minimum), metavar="DURATION", help=meaning)
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


def _add_workers(add_parser: AddParser) -> None:
    parser = add_parser("workers", help="list the workers", description=_WORKERS, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("--json", action="store_true", help="print one JSON object: workers; times in UTC")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_jobs(add_parser: AddParser) -> None:
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
        "--organization", dest="organization_id", type=organization_id, metavar="UUID", help="only those of this one"
    )
    owner.add_argument("--no-organization", action="store_true", help="only those of no organization")
    parser.add_argument(
        "--limit", type=positive_count, metavar="N", default=20, help="how many jobs at most; default: 20"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: jobs; times in UTC")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_metrics(add_parser: AddParser) -> None:
    parser = add_parser(
        "metrics", help="count jobs and attempts by type", description=_METRICS, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--type", dest="job_type", metavar="TYPE", help="only exactly this type")
    parser.add_argument(
        "--window",
        type=duration_from("1s"),
        metavar="DURATION",
        default=timedelta(days=1),
        help="how far to look back at most; default: 24h",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: metrics, since, until; times in UTC"
    )
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_job(add_parser: AddParser) -> None:
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


def _add_logs(add_parser: AddParser) -> None:
    parser = add_parser("logs", help="print the log of a job", description=_LOGS, epilog=ENVIRONMENT_AND_CODES)
    _add_job_choice(parser)
    parser.add_argument("--after", type=line_id, metavar="LINE", default=0, help="only lines after the one of this id")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each line; times in UTC")
    parser.add_argument("--show-payload", action="store_true", help="show what was logged besides the message too")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_payload(add_parser: AddParser) -> None:
    parser = add_parser(
        "payload", help="print the payload of a job", description=_PAYLOAD, epilog=ENVIRONMENT_AND_CODES
    )
    _add_job_choice(parser)
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_job_choice(parser: argparse.ArgumentParser) -> None:
    """Add the two ways of naming a job; which one was taken the command finds out."""
    parser.add_argument("job_id", type=job_id, metavar="ID", nargs="?", help="the UUID that enqueue returned")
    group = parser.add_argument_group("instead of the id")
    group.add_argument("--type", dest="job_type", metavar="TYPE", help="the type it was enqueued with")
    group.add_argument("--key", dest="idempotency_key", metavar="KEY", help="the idempotency key")
    group.add_argument(
        "--organization",
        dest="organization_id",
        type=organization_id,
        metavar="UUID",
        help="the organization whose key it is; without it the key is one of no organization",
    )


def _check_job_choice(arguments: argparse.Namespace) -> None:
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


def _add_definition(add_parser: AddParser) -> None:
    parser = add_parser(
        "definition",
        help="list, show and change job types",
        description=_DEFINITION,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_definition_list(actions.add_parser)
    _add_definition_show(actions.add_parser)
    _add_definition_set(actions.add_parser)
    for action, meaning in (("pause", "claim no jobs of a job type"), ("resume", "claim the jobs of a job type again")):
        parser = actions.add_parser(action, help=meaning, description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
        _add_definition_options(parser)


def _add_definition_list(add_parser: AddParser) -> None:
    parser = add_parser("list", help="list job types", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("filter", metavar="TEXT", nargs="?", help="only types with this text in them, in any case")
    parser.add_argument("--json", action="store_true", help="print one JSON object: definitions")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_definition_show(add_parser: AddParser) -> None:
    parser = add_parser("show", help="show one job type", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES)
    _add_definition_options(parser)


def _add_definition_set(add_parser: AddParser) -> None:
    parser = add_parser(
        "set", help="change the defaults of a job type", description=_DEFINITION, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--max-attempts", type=positive_count, metavar="N", help="how often a job may be tried")
    parser.add_argument("--timeout", type=duration_from("1s"), metavar="DURATION", help="how long one attempt may take")
    parser.add_argument("--priority", type=whole_number, metavar="N", help="higher runs first; may be negative")
    state = parser.add_mutually_exclusive_group()
    state.add_argument("--enable", dest="is_enabled", action="store_true", default=None, help="take new jobs")
    state.add_argument(
        "--disable", dest="is_enabled", action="store_false", default=None, help="take no new jobs; run those there are"
    )
    _add_definition_options(parser)


def _check_changes(arguments: argparse.Namespace) -> None:
    changes = (arguments.max_attempts, arguments.timeout, arguments.priority, arguments.is_enabled)
    if all(change is None for change in changes):
        raise BadInputError(
            "nothing is to be changed; give --max-attempts, --timeout, --priority, --enable or --disable; "
            "see `runledger definition set --help`"
        )


def _add_definition_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_type", metavar="TYPE", help="the job type")
    parser.add_argument("--json", action="store_true", help="print one JSON object: the definition")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_schedule(add_parser: AddParser) -> None:
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
        "--jitter", dest="max_jitter", type=duration_from("0s"), metavar="DURATION", help="how late it may be at most"
    )
    parser.add_argument(
        "--catch-up",
        choices=("latest", "skip", "all"),
        help="which due times fire when several have passed; default: latest",
    )
    parser.add_argument(
        "--catch-up-limit", type=positive_count, metavar="N", help="how many fire at most with --catch-up all"
    )
    parser.add_argument(
        "--overlap", choices=("allow", "skip"), help="whether it fires while its last job has not ended; default: allow"
    )
    parser.add_argument(
        "--next-fire-at",
        type=instant,
        metavar="INSTANT",
        help="when it is due next, such as 2026-12-01T02:30Z; or now",
    )
    new = parser.add_argument_group("for a new schedule")
    new.add_argument(
        "--organization",
        dest="organization_id",
        type=organization_id,
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
    parser.add_argument("--count", type=positive_count, metavar="N", default=5, help="how many times; default: 5")
    parser.add_argument("--after", type=instant, metavar="INSTANT", help="default: now")
    parser.add_argument("--json", action="store_true", help="print one JSON object: times, in UTC")


def _add_schedule_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object; times in UTC")
    parser.add_argument("--show-payload", action="store_true", help="show the payload too")


def _check_schedule_changes(arguments: argparse.Namespace) -> None:
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


def _add_cancel(add_parser: AddParser) -> None:
    parser = add_parser("cancel", help="cancel jobs", description=_CANCEL, epilog=ENVIRONMENT_AND_CODES)
    _add_control_options(parser, done="canceled")


def _add_requeue(add_parser: AddParser) -> None:
    parser = add_parser("requeue", help="start jobs over", description=_REQUEUE, epilog=ENVIRONMENT_AND_CODES)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--keep-progress", action="store_true", help="keep counts and checkpoint, so that handlers go on from there"
    )
    way.add_argument("--at-once", action="store_true", help="also while a canceled handler may still be running")
    _add_control_options(parser, done="requeued")


def _add_control_options(parser: argparse.ArgumentParser, *, done: str) -> None:
    parser.add_argument("job_ids", type=job_id, metavar="ID", nargs="+", help="the UUIDs that enqueue returned")
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the job and its event")
    parser.add_argument("--json", action="store_true", help=f"print one JSON object: {done}, refused; without payloads")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_embedded(add_parser: AddParser) -> None:
    parser = add_parser(
        "embedded",
        help="keep a PostgreSQL for first steps running",
        description=_EMBEDDED,
        epilog=ENVIRONMENT_AND_CODES,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        default=DEFAULT_SERVER_NAME,
        help=f"name of the server and of the database; default: {DEFAULT_SERVER_NAME}",
    )


class _Parser(argparse.ArgumentParser):
    """The program's parser and, since argparse makes those of the same class, the commands'."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 (argparse's own)
        # Without abbreviations: a new option must not change what a shorter spelling meant.
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments in one line, as every other error is told; argparse would print the usage first."""
        raise BadInputError(f"{message}; see `{self.prog} --help`")


class _ShowVersion(argparse.Action):
    """``--version``, which looks the version up only when asked: that takes longer than all the rest."""

    def __init__(self, option_strings: Sequence[str], **settings: Any) -> None:  # noqa: ANN401 (argparse's own)
        super().__init__(option_strings, nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib import metadata

        try:
            print(f"runledger {metadata.version('runledger-pg')}")
        except metadata.PackageNotFoundError:
            print("runledger, from a directory that was not installed")
        parser.exit()
