"""What is said of a connection of another library."""

from __future__ import annotations

import pytest

from runledger import InvalidArgumentError, Ledger, SyncLedger
from runledger.client.foreign_connections import way_to_psycopg
from runledger.testing import EphemeralDatabase


def made_by(module: str, name: str, *, below: str | None = None) -> object:
    """Return an object of a class of another library, or of an application's class below it."""
    foreign = type(name, (), {"__module__": module})
    return foreign() if below is None else type(below, (foreign,), {"__module__": "shop.database"})()


CONNECTION = made_by("sqlalchemy.engine.base", "Connection")
SESSION = made_by("sqlalchemy.orm.session", "Session")
ASYNC_CONNECTION = made_by("sqlalchemy.ext.asyncio.engine", "AsyncConnection")
ASYNC_SESSION = made_by("sqlalchemy.ext.asyncio.session", "AsyncSession")
OWN_SESSION = made_by("sqlalchemy.orm.session", "Session", below="ShopSession")
ENGINE = made_by("sqlalchemy.engine.base", "Engine")
ASYNC_ENGINE = made_by("sqlalchemy.ext.asyncio.engine", "AsyncEngine")


@pytest.mark.parametrize(
    ("foreign", "is_async", "way"),
    [
        (CONNECTION, False, ": it is `conn.connection.driver_connection`"),
        (SESSION, False, ": it is `session.connection().connection.driver_connection`"),
        (OWN_SESSION, False, ": it is `session.connection().connection.driver_connection`"),
        (
            ENGINE,
            False,
            ": open a connection with `engine.begin()`, it is `conn.connection.driver_connection` of that",
        ),
        (ASYNC_CONNECTION, True, ": it is `(await conn.get_raw_connection()).driver_connection`"),
        (
            ASYNC_SESSION,
            True,
            ": it is `(await (await session.connection()).get_raw_connection()).driver_connection`",
        ),
        (
            ASYNC_ENGINE,
            True,
            (
                ": open a connection with `engine.begin()`, "
                "it is `(await conn.get_raw_connection()).driver_connection` of that"
            ),
        ),
        (
            SESSION,
            True,
            (
                "; this is a blocking one of SQLAlchemy, which needs a SyncLedger: "
                "it is `session.connection().connection.driver_connection`"
            ),
        ),
        (
            ASYNC_CONNECTION,
            False,
            (
                "; this is an asyncio one of SQLAlchemy, which needs a Ledger: "
                "it is `(await conn.get_raw_connection()).driver_connection`"
            ),
        ),
        (made_by("sqlalchemy.engine.row", "Row"), False, ""),
        (made_by("shop.database", "Session"), False, ""),
    ],
)
def test_the_way_to_psycopg_fits_what_was_given(foreign: object, *, is_async: bool, way: str) -> None:
    assert way_to_psycopg(foreign, is_async=is_async) == way


async def test_the_ended_block_of_a_transaction_is_told(runledger_database: EphemeralDatabase) -> None:
    """Another transaction on a connection that is back in the pool would be somebody else's."""
    async with await Ledger.connect(runledger_database.url, max_connections=1) as ledger:
        async with ledger.transaction() as connection:
            pass
        with pytest.raises(InvalidArgumentError, match="or its block has ended; call inside the block"):
            await ledger.enqueue("a.b", connection=connection)


def test_a_session_is_refused_by_its_type_and_its_remedy(runledger_database: EphemeralDatabase) -> None:
    with (
        SyncLedger.connect(runledger_database.url, max_connections=1) as ledger,
        pytest.raises(InvalidArgumentError) as refused,
    ):
        ledger.enqueue("a.b", connection=SESSION)  # pyright: ignore[reportArgumentType]

    assert str(refused.value) == (
        "connection: is of type sqlalchemy.orm.session.Session; pass a psycopg Connection: "
        "it is `session.connection().connection.driver_connection`"
    )
