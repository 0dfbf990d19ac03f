"""Where a command works: the database and the schema that the arguments and the environment name."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Generator
from dataclasses import dataclass

from runledger.cli.arguments import SCHEMA_VARIABLE, URL_VARIABLES
from runledger.cli.failures import BadInputError, CommandError
from runledger.client import SyncLedger
from runledger.core.errors import InvalidArgumentError
from runledger.postgres import (
    DEFAULT_SCHEMA,
    Database,
    DatabaseConnectionError,
    MissingMigrationHistoryError,
    QueryError,
    SchemaCompatibilityError,
)
from runledger.postgres.sql_errors import NOT_MIGRATED, OTHER_VERSION

_SCHEMA_EXISTS = "SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database, and the schema of the tables in it.

    Attributes:
        url: How to connect; may hold a password.
        url_source: Who gave it, as messages say it.
        database: The same for the runtime.
        schema_source: Who named the schema; ``None`` for the default.
    """

    url: str
    url_source: str
    database: Database
    schema_source: str | None

    @property
    def schema(self) -> str:
        """The schema of the tables."""
        return self.database.schema

    def connect(self) -> SyncLedger:
        """Open a ledger with one connection."""
        return SyncLedger.connect(self.url, schema=self.schema, min_connections=1, max_connections=1)


@contextlib.contextmanager
def open_place(arguments: argparse.Namespace) -> Generator[Place]:
    """Find the place, start its embedded server if it is on one, and explain what goes wrong there in the block.

    Raises:
        BadInputError: The arguments and the environment name no place, two, or an impossible one.
        CommandError: The database or the embedded server cannot be used.
    """
    # The driver warns of a rollback that an interrupt cut short. Without a handler anywhere logging prints that.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    schema, schema_source = chosen_schema(arguments)
    with contextlib.ExitStack() as stack:
        if arguments.embedded is None:
            url, url_source = _chosen_url(arguments)
        elif arguments.database_url is None:
            url, url_source = (
                stack.enter_context(embedded_database(arguments.embedded, source="--embedded")),
                "--embedded",
            )
        else:
            raise BadInputError("--embedded and --database-url name two databases; give one of them")
        try:
            database = Database(url, schema=schema)
        except InvalidArgumentError as error:
            source = schema_source if error.field == "schema" else url_source
            raise BadInputError(f"{source}: {error.problem}; {error.remedy}") from None
        place = Place(url=url, url_source=url_source, database=database, schema_source=schema_source)
        stack.enter_context(_explaining(place))
        yield place


@contextlib.contextmanager
def embedded_database(name: str, *, source: str) -> Generator[str]:
    """Start the embedded server of a name, and give the URL of the database of that name on it.

    Args:
        name: The name.
        source: Who gave it, as messages say it.

    Raises:
        BadInputError: The name is impossible.
        CommandError: The server does not start.
    """
    from runledger.embedded import EmbeddedServer, EmbeddedServerError, default_data_dir

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(EmbeddedServer.start(default_data_dir(name)))
            url = server.ensure_database(name)
        except InvalidArgumentError as error:
            raise BadInputError(f"{source}: {error.problem}; {error.remedy}") from None
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from None
        yield url


def chosen_schema(arguments: argparse.Namespace) -> tuple[str, str | None]:
    """Return the schema that arguments or environment name, and who named it; ``None`` for the default."""
    if arguments.schema is not None:
        return arguments.schema, "--schema"
    if schema := os.environ.get(SCHEMA_VARIABLE):
        return schema, SCHEMA_VARIABLE
    return DEFAULT_SCHEMA, None


def _chosen_url(arguments: argparse.Namespace) -> tuple[str, str]:
    if arguments.database_url is not None:
        # libpq takes an empty text for its own default, some database that nobody named.
        if not arguments.database_url.strip():
            raise BadInputError(
                "--database-url: is blank; write it as postgresql://user@host:5432/database, or leave the option out "
                f"and set {' or '.join(URL_VARIABLES)}"
            )
        return arguments.database_url, "--database-url"
    for variable in URL_VARIABLES:
        url = os.environ.get(variable, "")
        if url.strip():
            return url, variable
    raise BadInputError(
        f"no database is given; use --database-url, set {' or '.join(URL_VARIABLES)}, "
        "or try the embedded server with --embedded"
    )


@contextlib.contextmanager
def _explaining(place: Place) -> Generator[None]:
    """Turn what can be expected to go wrong in a database into what a person can act on."""
    try:
        yield
    except DatabaseConnectionError as error:
        raise CommandError(_unreachable(place, error)) from None
    except MissingMigrationHistoryError:
        raise _not_migrated(place) from None
    except SchemaCompatibilityError as error:
        raise CommandError(f"schema {place.schema} at {place.database.description}: {error.difference}") from None
    except QueryError as error:
        if error.code == NOT_MIGRATED:
            raise _not_migrated(place) from None
        if error.code == OTHER_VERSION:
            raise CommandError(
                f"the tables in schema {place.schema} at {place.database.description} are not those of this version; "
                "run `runledger migrate`, or upgrade runledger-pg if they are newer"
            ) from None
        raise CommandError(f"{place.database.description}: {error} ({error.code})") from None


def _unreachable(place: Place, error: DatabaseConnectionError) -> str:
    reason = f": {error.reason}" if error.reason is not None else ""
    return (
        f"cannot reach PostgreSQL at {place.database.description}{reason}; "
        f"check {place.url_source}, and that the server runs there and lets you in"
    )


def _not_migrated(place: Place) -> CommandError:
    where = f"schema {place.schema} at {place.database.description}"
    # Whoever names a schema that is not there has more likely misspelled it than forgotten to migrate.
    if place.schema_source is not None and not _schema_exists(place):
        return BadInputError(
            f"{place.schema_source}: there is no {where}; correct the name, or create it with `runledger migrate`"
        )
    return CommandError(f"{where} has no tables of Runledger; create them with `runledger migrate`")


def _schema_exists(place: Place) -> bool:
    with place.connect() as ledger, ledger.transaction() as connection:
        row = connection.execute(_SCHEMA_EXISTS, [place.schema]).fetchone()
    return row is not None and bool(row[0])
