"""Catalogs through the ledger. Each test runs for both ledgers."""

from __future__ import annotations

import pytest

from runledger.client import Ledger
from runledger.core import CatalogSyncMode, JobContext
from runledger.postgres import QueryError
from runledger.runtime import JobCatalog


class ChangedItsMindError(Exception):
    """The application changes its mind."""


def catalog_of(*job_types: str) -> JobCatalog:
    async def handle(context: JobContext, payload: object) -> None:
        assert all([context, payload])

    catalog = JobCatalog("shop")
    for job_type in job_types:
        catalog.job(job_type)(handle)
    return catalog


async def test_a_catalog_is_synced_and_its_requests_are_enqueued(ledger: Ledger) -> None:
    catalog = catalog_of("old", "new")
    catalog.schedule("nightly", "new", cron="30 2 * * *", timezone="Europe/Berlin")

    made = await ledger.sync_catalog(catalog)
    job_ids = await ledger.enqueue_many(catalog.request("new", {"number": number}) for number in range(3))
    exact = await ledger.sync_catalog(catalog_of("new"), mode=CatalogSyncMode.EXACT)
    back = await ledger.sync_catalog(catalog.declaration(), keeps_enabled=False)

    assert (made.inserted, made.schedules.inserted) == (("new", "old"), ("nightly",))
    assert len(job_ids) == 3
    assert (exact.disabled, exact.schedules.paused) == (("old",), ("nightly",))
    assert (back.enabled, back.schedules.updated) == (("old",), ("nightly",))


async def test_a_sync_is_part_of_the_callers_transaction(ledger: Ledger) -> None:
    async def sync_and_fail() -> None:
        async with ledger.transaction() as connection:
            await ledger.sync_catalog(catalog_of("new"), connection=connection)
            await ledger.enqueue("new", connection=connection)
            raise ChangedItsMindError

    with pytest.raises(ChangedItsMindError):
        await sync_and_fail()
    with pytest.raises(QueryError, check=lambda error: error.code == "job.definition_not_found_or_disabled"):
        await ledger.enqueue("new")
