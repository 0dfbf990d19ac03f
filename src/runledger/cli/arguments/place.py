"""The options that say where the tables are, which all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

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
