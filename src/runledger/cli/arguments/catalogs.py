"""The arguments of `runledger catalog`."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import ENVIRONMENT_AND_CODES, AddParser, add_database_options

_CATALOG = """\
A catalog declares the job types and schedules of an application beside their
handlers. `sync` makes the database what it declares, in one transaction, as a step of
the deployment; it needs the rights of the role that migrates.

What an operator has disabled or paused stays so, unless --restore-enabled is given.
"""

_CATALOG_SHOW = """\
Print what a catalog declares, with what its configuration overrides. No database is
needed. Payloads of schedules are not shown.
"""


def add_catalog(add_parser: AddParser) -> None:
    """Add ``catalog`` and its actions."""
    parser = add_parser(
        "catalog",
        help="show what the code declares, and make the database so",
        description=_CATALOG,
        epilog=ENVIRONMENT_AND_CODES,
    )
    add_database_options(parser, default=argparse.SUPPRESS)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_sync(actions.add_parser)
    _add_show(actions.add_parser)


def _add_sync(add_parser: AddParser) -> None:
    parser = add_parser(
        "sync", help="make the database what a catalog declares", description=_CATALOG, epilog=ENVIRONMENT_AND_CODES
    )
    _add_path(parser)
    parser.add_argument(
        "--exact",
        dest="is_exact",
        action="store_true",
        help="disable and pause what the catalog owns and does not declare any more",
    )
    parser.add_argument(
        "--restore-enabled",
        dest="restores_enabled",
        action="store_true",
        help="enable, disable, resume and pause as declared, whatever an operator did",
    )
    parser.add_argument(
        "--dry-run", dest="is_dry_run", action="store_true", help="say what would change, and change nothing"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object: what changed")
    add_database_options(parser, default=argparse.SUPPRESS)


def _add_show(add_parser: AddParser) -> None:
    parser = add_parser("show", help="print what a catalog declares", description=_CATALOG_SHOW)
    _add_path(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object: scope, definitions, schedules")


def _add_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "catalog",
        metavar="MODULE:ATTRIBUTE",
        help="where the JobCatalog is, for example app.jobs:catalog; modules of the current directory are found",
    )
