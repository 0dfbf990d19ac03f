"""Fixtures: an application with a fresh database, and what the runtime logs."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

import pytest
from psycopg.conninfo import make_conninfo

from runledger.client import Ledger
from runledger.postgres import Database
from runledger.testing import EphemeralDatabase
from tests.observer import Observer
from tests.runtime.app import App
from tests.runtime.log_watch import LogWatch


@pytest.fixture
async def app(runledger_database: EphemeralDatabase) -> AsyncGenerator[App]:
    """An application without handlers and jobs."""
    observer = await Observer.connect(runledger_database.url)
    try:
        # Its own name, so that the sessions called runledger are those of workers and reapers.
        async with await Ledger.connect(
            make_conninfo(runledger_database.url, application_name="application")
        ) as ledger:
            yield App(
                url=runledger_database.url,
                database=Database(runledger_database.url),
                ledger=ledger,
                observer=observer,
            )
    finally:
        await observer.close()


@pytest.fixture
async def log() -> AsyncGenerator[LogWatch]:
    """What Runledger logs during the test."""
    watch = LogWatch()
    logger = logging.getLogger("runledger")
    level = logger.level
    logger.addHandler(watch)
    logger.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        logger.setLevel(level)
        logger.removeHandler(watch)
