"""How the databases of tests are called, and addressed."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode

from psycopg.conninfo import make_conninfo

_MAX_PREFIX_LENGTH = 24
_EPHEMERAL_NAME = re.compile(r"[a-z_][a-z0-9_]*_(?P<process_id>[0-9]+)_[0-9]+")


def ephemeral_name(prefix: str, *, process_id: int, number: int) -> str:
    """Return the cleaned prefix, followed by the id of the process and the number of the database in it."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", prefix.lower())[:_MAX_PREFIX_LENGTH]
    if not cleaned:
        cleaned = "db"
    elif cleaned[0].isdigit():
        cleaned = f"db_{cleaned}"
    return f"{cleaned}_{process_id}_{number}"


def maker_of(name: str) -> int | None:
    """Return the id of the process that made the database of this name, or ``None`` for any other name."""
    match = _EPHEMERAL_NAME.fullmatch(name)
    return int(match["process_id"]) if match else None


def with_database(url: str, name: str) -> str:
    """Return the address of another database on the same server; a libpq connection string stays one."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return make_conninfo(url, dbname=name)
    address, _, query = rest.partition("?")
    authority = address.partition("/")[0]
    # A dbname among the parameters would win over the path.
    parameters = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if key != "dbname"]
    tail = f"?{urlencode(parameters, safe='/', quote_via=quote)}" if parameters else ""
    return f"{scheme}://{authority}/{quote(name, safe='')}{tail}"
