"""How Runledger opens its own connections."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.sql_errors import DatabaseConnectionError

_logger = logging.getLogger("runledger.postgres")

# A connection on which nobody answers any more is noticed within half a minute.
_DEFAULTS = {
    "connect_timeout": 10,
    "application_name": "runledger",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_MAX_PORT = 65_535
_WHOLE_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_WHOLE_NUMBER = re.compile(r" *-?[0-9]{1,9} *")

# What libpq and the server say, in words of ours: theirs have user names in them. Other languages are not understood.
_REASONS = (
    ("Connection refused", "nothing listens there"),
    ("No such file or directory", "there is no such socket"),
    ("could not translate host name|failed to resolve host|Name or service not known", "the host name is unknown"),
    ("timeout|no answer in time", "no answer in time"),
    ('database ".*" does not exist', "there is no such database"),
    ('authentication failed|no password supplied|role ".*" does not exist|pg_hba.conf', "the login was refused"),
    ("too many clients|remaining connection slots|too many connections", "it has too many connections"),
    ("starting up|shutting down", "it is starting up or shutting down"),
)

ConnectionParameters = Mapping[str, Any]
"""Keyword arguments of ``psycopg.connect``, conninfo included."""


def connection_parameters(url: str, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401 (libpq's parameters)
    """Return libpq's parameters for a URL or ``key=value`` text, with Runledger's defaults where it says nothing.

    Raises:
        InvalidArgumentError: libpq does not understand the text. It may hold a password, so it is not shown.
    """
    _check_text(url)
    parameters: dict[str, Any] | None = None
    with contextlib.suppress(psycopg.ProgrammingError):  # raised below: libpq's message quotes the text
        parameters = dict(conninfo_to_dict(url))
    if parameters is None:
        raise InvalidArgumentError(
            "database_url",
            "is not a PostgreSQL URL, or has a parameter or an escape that libpq does not know",
            "write it as postgresql://user@host:5432/database",
        )
    _check_for_misread_password(parameters)
    _check_numbers(parameters)
    # Documents are UTF-8, whatever PGCLIENTENCODING or the database's default say.
    return _DEFAULTS | parameters | overrides | {"client_encoding": "UTF8"}


def _check_text(url: object) -> None:
    """Refuse what would send libpq to a server of its own choice, or fails with a message about something else."""
    if not isinstance(url, str):
        raise InvalidArgumentError(
            "database_url", f"is of type {type(url).__name__}", "pass postgresql://user@host:5432/database"
        )
    if not url.strip():
        raise InvalidArgumentError(
            "database_url", "is empty", "name the database, such as postgresql://user@host:5432/database"
        )
    if url != url.strip():
        raise InvalidArgumentError("database_url", "begins or ends with white space", "strip it, such as a line's end")


def _check_for_misread_password(parameters: Mapping[str, Any]) -> None:
    """Refuse a URL of which libpq took a part of the password for host, port or database, which messages show."""
    port = str(parameters.get("port") or "")
    parts = f"{parameters.get('host') or ''}{parameters.get('dbname') or ''}"
    if "@" in parts or (not port.replace(",", "").isdigit() and port):
        raise InvalidArgumentError(
            "database_url",
            "has a port that is no number, or a special character in its user or password",
            "correct the port, or write the character percent-encoded, such as %40 for @ and %2F for /",
        )


def _check_numbers(parameters: Mapping[str, Any]) -> None:
    """Refuse what libpq would refuse when it connects, in words that name user and host, or take for no timeout."""
    ports = [port for port in str(parameters.get("port") or "").split(",") if port]
    if not all(1 <= int(port) <= _MAX_PORT for port in ports):
        raise InvalidArgumentError("database_url", "has an impossible port", f"give one from 1 to {_MAX_PORT}")
    for name in _WHOLE_NUMBERS:
        if name in parameters and not _WHOLE_NUMBER.fullmatch(str(parameters[name])):
            raise InvalidArgumentError("database_url", f"has a {name} that is no whole number", "correct it")


def describe_server(parameters: ConnectionParameters) -> str:
    """Return host, port and database for messages; never user, password or other parameters."""
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    port = parameters.get("port") or "5432"
    database = parameters.get("dbname") or "its default"
    return f"host {host}, port {port}, database {database}"


def unreachable(parameters: ConnectionParameters, source: Exception | None = None) -> DatabaseConnectionError:
    """Return the error of a connection that could not be opened: where it should lead, and why not, as far as known."""
    text = str(source or "")
    reason = next((reason for pattern, reason in _REASONS if re.search(pattern, text)), None)
    because = f": {reason}" if reason is not None else ""
    return DatabaseConnectionError(
        f"cannot connect to PostgreSQL at {describe_server(parameters)}{because}; check that it runs there and that "
        "the user may connect",
        reason=reason,
        source=source,
    )


def uses_pooler(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], server_backend_pid: int) -> bool:
    """Whether a pooler such as PgBouncer sits between us and the server, told by the process id each side sees.

    Behind a transaction pool a prepared statement may meet another client's server session and silently run another
    text, so such a connection must not prepare any.
    """
    is_pooled = connection.info.backend_pid != server_backend_pid
    if is_pooled:
        info = connection.info
        _log_pooler(describe_server({"host": info.host, "port": info.port, "dbname": info.dbname}))
    return is_pooled


@functools.cache
def _log_pooler(server: str) -> None:
    """Say once in this process that there is a pooler: each part of a worker has connections of its own there."""
    _logger.warning("postgres.pooler_detected", extra={"server": server})
