"""How the connection of another library leads to that of psycopg below it."""

from __future__ import annotations

from collections.abc import Mapping

_DJANGO = ": inside atomic() it is `django.db.connection.connection`"

# By the names of SQLAlchemy's classes: it is not installed everywhere, and looking is no reason to import it.
_BLOCKING_WAYS: Mapping[str, str] = {
    "Connection": "it is `conn.connection.driver_connection`",
    "Session": "it is `session.connection().connection.driver_connection`",
    "scoped_session": "it is `session.connection().connection.driver_connection`",
    "Engine": "open a connection with `engine.begin()`, it is `conn.connection.driver_connection` of that",
}
_ASYNC_WAYS: Mapping[str, str] = {
    "AsyncConnection": "it is `(await conn.get_raw_connection()).driver_connection`",
    "AsyncSession": "it is `(await (await session.connection()).get_raw_connection()).driver_connection`",
    "async_scoped_session": "it is `(await (await session.connection()).get_raw_connection()).driver_connection`",
    "AsyncEngine": (
        "open a connection with `engine.begin()`, it is `(await conn.get_raw_connection()).driver_connection` of that"
    ),
}


def way_to_psycopg(foreign: object, *, is_async: bool) -> str:
    """Return what to add to the remedy for an object of another library; nothing for one that is not known.

    Args:
        foreign: What was given in place of a psycopg connection.
        is_async: Whether an asyncio connection is wanted.
    """
    # Along the bases: applications, and libraries such as SQLModel, have sessions of their own.
    for base in type(foreign).__mro__:
        library = base.__module__.partition(".")[0]
        if library == "django":
            return _DJANGO
        if library != "sqlalchemy":
            continue
        right, wrong = (_ASYNC_WAYS, _BLOCKING_WAYS) if is_async else (_BLOCKING_WAYS, _ASYNC_WAYS)
        if base.__name__ in right:
            return f": {right[base.__name__]}"
        if base.__name__ in wrong:
            kind, ledger = ("a blocking", "SyncLedger") if is_async else ("an asyncio", "Ledger")
            return f"; this is {kind} one of SQLAlchemy, which needs a {ledger}: {wrong[base.__name__]}"
    return ""
