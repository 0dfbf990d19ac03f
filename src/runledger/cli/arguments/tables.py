"""The arguments of the commands about the tables and the server they are on."""

from __future__ import annotations

import argparse

from runledger.cli.arguments.place import DEFAULT_SERVER_NAME, ENVIRONMENT_AND_CODES, AddParser, add_database_options

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

_EMBEDDED = """\
Start the embedded server NAME, which needs no installed PostgreSQL, with a database
of the same name; print its URL, and keep it running until SIGTERM or Ctrl-C. The data
stay for the next start. It is for first steps and development.
"""


def add_migrate(add_parser: AddParser) -> None:
    """Add ``migrate``."""
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


def add_check(add_parser: AddParser) -> None:
    """Add ``check``."""
    parser = add_parser(
        "check", help="compare the tables with this version", description=_CHECK, epilog=ENVIRONMENT_AND_CODES
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_database_options(parser, default=argparse.SUPPRESS)


def add_grants(add_parser: AddParser) -> None:
    """Add ``grants``."""
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


def add_embedded(add_parser: AddParser) -> None:
    """Add ``embedded``."""
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
