"""The disk of the server is full, and has room again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.outages.disk import SmallDisk, small_disk
from tests.outages.explanation import explain_reruns
from tests.outages.jobs import enqueue, observing, until_done, until_succeeded
from tests.outages.process import outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer, outage_server

LEASE_TTL = 2
JOBS = 600
MEGABYTES = 160

NEXT_LOG_FILE = "SELECT pg_logical_emit_message(true, 'outage', 'not empty'), pg_switch_wal()"


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(MEGABYTES) as disk:
        yield disk


@pytest.fixture
def server(server_data: Path, disk: SmallDisk) -> Iterator[OutageServer]:
    with outage_server(server_data, below=disk.folder) as server:
        yield server


async def test_a_table_that_cannot_grow_stops_the_work_until_there_is_room(
    server: OutageServer, disk: SmallDisk
) -> None:
    """Statements are refused, and everything else goes on; nothing is left behind by those that were."""
    await enqueue(server.url, JOBS)
    async with observing(server.url) as observer:
        await observer.rows(NEXT_LOG_FILE)  # so that it is a table that meets the end of the disk
    async with outage_worker(server.url, "one", lease_ttl=LEASE_TTL) as worker:
        await until_succeeded(server.url, more_than=50)
        disk.fill()
        await worker.until("worker.claim_failed")
        disk.free()
        await until_done(server.url)
        await worker.stop()
        check_quiet(worker)

    async with observing(server.url) as observer:
        await explain_reruns(observer, lease_ttl=LEASE_TTL)


async def test_a_server_that_fell_over_its_full_disk_goes_on_where_it_was(
    server: OutageServer, disk: SmallDisk
) -> None:
    """It panics when its log cannot grow, and may not be able to recover. Somebody makes room, and starts it."""
    await enqueue(server.url, JOBS)
    async with outage_worker(server.url, "one", lease_ttl=LEASE_TTL) as worker:
        await until_succeeded(server.url, more_than=50)
        disk.fill()
        with pytest.raises(psycopg.OperationalError):
            await _write_log_for_ever(server.url)
        await worker.until("worker.claim_failed")
        disk.free()
        server.restart()
        # What it said when it fell found no room any more.
        assert "automatic recovery in progress" in server.log()
        await until_done(server.url)
        await worker.stop()
        check_quiet(worker)

    async with observing(server.url) as observer:
        await explain_reruns(observer, lease_ttl=LEASE_TTL)


async def _write_log_for_ever(url: str) -> None:
    async with observing(url) as observer:
        while True:
            await observer.rows(NEXT_LOG_FILE)
