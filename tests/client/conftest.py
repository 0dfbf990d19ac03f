"""The ledger in both its forms."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from runledger.client import Ledger, SyncLedger
from runledger.core import JobDefinition
from runledger.testing import EphemeralDatabase
from tests.client.blocking import AwaitedLedger
from tests.observer import Observer

TYPE = "email.send"


@pytest.fixture
async def observer(runledger_database: EphemeralDatabase) -> AsyncGenerator[Observer]:
    observer = await Observer.connect(runledger_database.url)
    await observer.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    yield observer
    await observer.close()


@pytest.fixture(params=["asyncio", "blocking"])
async def ledger(
    request: pytest.FixtureRequest, runledger_database: EphemeralDatabase, observer: Observer
) -> AsyncGenerator[Ledger]:
    """A ledger that knows one job type, beside an application's table."""
    assert observer
    async with await Ledger.connect(runledger_database.url) as asyncio_ledger:
        await asyncio_ledger.ensure_job_definitions([JobDefinition(job_type=TYPE)])
        if request.param == "asyncio":
            yield asyncio_ledger
        else:
            with SyncLedger.connect(runledger_database.url) as blocking_ledger:
                yield cast("Any", AwaitedLedger(blocking_ledger))
