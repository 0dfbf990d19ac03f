"""An application names the errors of constraints that it added to Runledger's tables."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger import Ledger, SyncLedger
from runledger.core import JobDefinition
from runledger.postgres import ErrorClass, QueryError, QueryErrorCategory
from runledger.testing import EphemeralDatabase
from tests.client.conftest import TYPE
from tests.observer import Observer

OWN = ErrorClass(QueryErrorCategory.CONFLICT, "shop.too_urgent", "the shop is not that important")
OWN_DEFINITION = ErrorClass(QueryErrorCategory.FORBIDDEN, "shop.unknown_work", "the shop does no such work")

CLASSES = {"chk_shop_priority": OWN, "fk_job_queue_job_type": OWN_DEFINITION}


@pytest.fixture
async def url(runledger_database: EphemeralDatabase, observer: Observer) -> str:
    """A database with a constraint of the application on Runledger's table."""
    async with await Ledger.connect(runledger_database.url) as ledger:
        await ledger.ensure_job_definitions([JobDefinition(job_type=TYPE)])
    await observer.execute("ALTER TABLE runledger.job_queue ADD CONSTRAINT chk_shop_priority CHECK (priority < 1000)")
    await observer.execute("ALTER TABLE runledger.job_queue ADD CONSTRAINT chk_other CHECK (stage <> 'hunter2')")
    return runledger_database.url


async def _by_ledger(url: str, job: dict[str, object]) -> None:
    async with await Ledger.connect(url, classifier=CLASSES.get) as ledger:
        await ledger.enqueue(TYPE, **job)  # pyright: ignore[reportArgumentType] (any arguments)


async def _by_ledger_of_a_pool(url: str, job: dict[str, object]) -> None:
    async with (
        AsyncConnectionPool(url, min_size=1, open=False) as pool,
        Ledger(pool, classifier=CLASSES.get) as ledger,
        ledger.transaction() as connection,
    ):
        await ledger.enqueue(TYPE, connection=connection, **job)  # pyright: ignore[reportArgumentType] (any arguments)


async def _by_blocking_ledger(url: str, job: dict[str, object]) -> None:
    def enqueue() -> None:
        with SyncLedger.connect(url, classifier=CLASSES.get) as ledger:
            ledger.enqueue(TYPE, **job)  # pyright: ignore[reportArgumentType] (any arguments)

    await asyncio.to_thread(enqueue)


async def _by_blocking_ledger_of_a_pool(url: str, job: dict[str, object]) -> None:
    def enqueue() -> None:
        with (
            ConnectionPool(url, min_size=1, open=False) as pool,
            SyncLedger(pool, classifier=CLASSES.get) as ledger,
            ledger.transaction() as connection,
        ):
            ledger.enqueue(TYPE, connection=connection, **job)  # pyright: ignore[reportArgumentType] (any arguments)

    await asyncio.to_thread(enqueue)


WAYS = [_by_ledger, _by_ledger_of_a_pool, _by_blocking_ledger, _by_blocking_ledger_of_a_pool]


@pytest.mark.parametrize("enqueue", WAYS, ids=lambda way: way.__name__.strip("_"))
async def test_a_constraint_of_the_application_has_its_own_error(
    url: str, enqueue: Callable[[str, dict[str, object]], Awaitable[None]]
) -> None:
    """ERR-003."""
    for key in (None, "hunter2"):
        with pytest.raises(QueryError) as caught:
            await enqueue(url, {"priority": 1000, "idempotency_key": key})

        error = caught.value
        assert (error.category, error.code, str(error)) == (OWN.category, OWN.code, OWN.client_message)
        assert (error.sqlstate, error.constraint) == ("23514", "chk_shop_priority")
        assert "hunter2" not in "".join(traceback.format_exception(error))
        assert (error.__cause__, error.__context__) == (None, None)


async def test_other_constraints_are_classified_as_ever(url: str) -> None:
    with pytest.raises(QueryError, check=lambda error: error.code == "db.business_rule_violation"):
        await _by_ledger(url, {"stage": "hunter2"})


async def test_an_error_can_be_classified_later(url: str) -> None:
    async with await Ledger.connect(url) as ledger:
        with pytest.raises(QueryError) as caught:
            await ledger.enqueue(TYPE, priority=1000)
    error = caught.value

    later = error.reclassified(CLASSES.get)

    assert (later.category, later.code, later.client_message) == (OWN.category, OWN.code, OWN.client_message)
    assert (later.sqlstate, later.constraint) == (error.sqlstate, error.constraint)
    assert (later.internal_message, later.source) == (error.internal_message, error.source)
    assert error.reclassified(lambda _constraint: None) is error


async def test_a_classifier_that_fails_does_not_show_what_it_failed_at(url: str) -> None:
    def broken(_constraint: str) -> ErrorClass:
        raise LookupError("of the application")

    async with await Ledger.connect(url, classifier=broken) as ledger:
        with pytest.raises(LookupError) as caught:
            await ledger.enqueue(TYPE, stage="hunter2")

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
