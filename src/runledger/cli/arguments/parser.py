"""The parser of the program: which commands there are, and what is refused of all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from runledger.cli.arguments.catalogs import add_catalog
from runledger.cli.arguments.configs import add_config
from runledger.cli.arguments.definitions import add_definition, check_definition_changes
from runledger.cli.arguments.jobs import (
    add_cancel,
    add_job,
    add_jobs,
    add_logs,
    add_metrics,
    add_payload,
    add_requeue,
    check_job_choice,
)
from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, add_database_options
from runledger.cli.arguments.schedules import add_schedule, check_schedule_changes
from runledger.cli.arguments.tables import add_check, add_embedded, add_grants, add_migrate
from runledger.cli.arguments.workers import add_worker, add_workers
from runledger.cli.arguments.workflows import add_workflow, add_workflows
from runledger.cli.failures import BadInputError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; ``command`` of its result names the command."""
    parser = _Parser(prog="runledger", description="Durable jobs in your own PostgreSQL.", epilog=ENVIRONMENT_AND_CODES)
    parser.add_argument("--version", action=_ShowVersion, help="show the version and exit")
    add_database_options(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_migrate(commands.add_parser)
    add_check(commands.add_parser)
    add_grants(commands.add_parser)
    add_worker(commands.add_parser)
    add_workers(commands.add_parser)
    add_jobs(commands.add_parser)
    add_metrics(commands.add_parser)
    add_job(commands.add_parser)
    add_logs(commands.add_parser)
    add_payload(commands.add_parser)
    add_workflows(commands.add_parser)
    add_workflow(commands.add_parser)
    add_definition(commands.add_parser)
    add_config(commands.add_parser)
    add_schedule(commands.add_parser)
    add_catalog(commands.add_parser)
    add_cancel(commands.add_parser)
    add_requeue(commands.add_parser)
    add_embedded(commands.add_parser)
    return parser


def check_together(arguments: argparse.Namespace) -> None:
    """Refuse arguments of which each is right, but not all of them together, where argparse cannot.

    Raises:
        BadInputError: They cannot be used.
    """
    if arguments.command in {"job", "logs", "payload"}:
        check_job_choice(arguments)
    elif arguments.command == "definition" and arguments.action == "set":
        check_definition_changes(arguments)
    elif arguments.command == "schedule" and arguments.action == "set":
        check_schedule_changes(arguments)


class _Parser(argparse.ArgumentParser):
    """The program's parser and, since argparse makes those of the same class, the commands'."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 (argparse's own)
        # Without abbreviations: a new option must not change what a shorter spelling meant.
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments in one line, as every other error is told; argparse would print the usage first."""
        from runledger.core.printable import printable  # of a package that the start does not wait for

        raise BadInputError(f"{printable(message)}; see `{self.prog} --help`")


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
