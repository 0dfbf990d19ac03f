"""The row of a live worker: there while it lives, one worker for an id, and nobody else's business."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import ConfigError, JobStatus, WorkerRecord
from runledger.postgres import workers
from runledger.runtime import Reaper, Supervisor, Worker, run_worker_loop
from runledger.runtime.worker_identity import is_known_dead, worker_identity
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate, echo
from tests.runtime.log_watch import LogWatch
from tests.worker_process import worker_process

TYPE = "email.send"
OTHER_PROCESS = UUID(int=7)


async def rows(app: App) -> list[WorkerRecord]:
    async with app.database.own_connection() as connection:
        return await connection.run(workers.list_workers())


async def test_a_worker_has_a_row_until_it_stops(app: App) -> None:
    app.registry.job(TYPE)(echo)
    async with app.worker(worker_id="one", max_global_concurrency=3):
        (row,) = await rows(app)

    assert (row.worker_id, row.is_live, row.job_types, row.slots) == ("one", True, (TYPE,), 3)
    assert (row.hostname, row.process_id) == (socket.gethostname(), os.getpid())
    assert row.expires_at - row.heartbeat_at == timedelta(minutes=1)
    assert await rows(app) == []


async def test_an_idle_worker_is_heard_of_for_longer_than_its_lease_time(app: App) -> None:
    async with app.worker(lease_ttl=timedelta(seconds=0.3)):
        await app.observer.until("(SELECT heartbeat_at > started_at + interval '0.9 s' FROM runledger.job_workers)")


async def test_a_live_duplicate_cannot_start_and_harms_nothing(app: App, log: LogWatch) -> None:
    async with app.worker(worker_id="one"):
        with pytest.raises(ConfigError, match="give each worker an id of its own") as caught:
            await Worker(app.database, app.registry, quiet_config(worker_id="one")).start()
        (row,) = await rows(app)

    assert caught.value.code == "config.worker_id_taken"
    assert row.is_live
    assert vars(log.named("lease_keeper.worker_id_taken")[0])["process_id"] == os.getpid()


async def test_an_id_is_free_again_after_a_stop(app: App) -> None:
    for _ in range(2):
        async with app.worker(worker_id="one"):
            assert len(await rows(app)) == 1


async def test_a_worker_whose_row_was_removed_writes_it_again(app: App) -> None:
    """After a pause of its machine for longer than the reaper keeps dead workers."""
    async with app.worker(lease_ttl=timedelta(seconds=0.3)):
        await app.observer.execute("DELETE FROM runledger.job_workers")
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_workers)")


async def test_a_worker_whose_id_was_taken_claims_no_more_and_lets_its_jobs_end(app: App, log: LogWatch) -> None:
    """It was silent for its lease time, and another one began under its id."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    first = await app.enqueue(TYPE)
    config = quiet_config(worker_id="one", lease_ttl=timedelta(seconds=0.6), poll_interval=timedelta(milliseconds=5))
    supervisor = Supervisor(app.database, app.registry, config)
    running = asyncio.create_task(supervisor.run_until_shutdown())
    await gate.until_running(1)

    await app.observer.execute(
        "UPDATE runledger.job_workers SET instance_id = uuidv7(), expires_at = now() + interval '1 h'"
    )
    await log.wait_for("worker.id_taken")
    second = await app.enqueue(TYPE)
    gate.open()
    report = await asyncio.wait_for(running, 20)

    assert [getattr(error, "code", None) for error in report.errors] == ["config.worker_id_taken"]
    assert not report.is_clean
    assert report.finished == 1
    assert (await app.job(first)).status is JobStatus.SUCCEEDED
    assert (await app.job(second)).status is JobStatus.PENDING
    assert len(await rows(app)) == 1  # that of the other one


async def test_a_loop_for_hosts_ends_when_its_id_was_taken(app: App) -> None:
    app.registry.job(TYPE)(echo)
    config = quiet_config(worker_id="one", lease_ttl=timedelta(seconds=0.3))
    running = asyncio.create_task(run_worker_loop(app.database, app.registry, config, asyncio.Event()))
    await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_workers)")

    await app.observer.execute(
        "UPDATE runledger.job_workers SET instance_id = uuidv7(), expires_at = now() + interval '1 h'"
    )
    with pytest.raises(ConfigError):
        await asyncio.wait_for(running, 20)


async def test_a_killed_process_can_be_started_again_at_once_under_its_id(app: App) -> None:
    """As a supervisor of processes does, long before the lease time is over."""
    app.registry.job("count")(echo)
    config = {"worker_id": "one"}
    async with worker_process(url=app.url, config=config) as process:
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_workers)")
        process.signal(signal.SIGKILL)
        assert await process.until_ended() == -signal.SIGKILL
    (before,) = await rows(app)
    assert before.is_live

    async with app.worker(worker_id="one"):
        (after,) = await rows(app)

    assert (after.process_id, after.is_live) == (os.getpid(), True)


async def test_a_live_process_of_another_kind_keeps_its_id(app: App) -> None:
    async with worker_process(url=app.url, config={"worker_id": "one"}):
        await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_workers)")
        with pytest.raises(ConfigError):
            await Worker(app.database, app.registry, quiet_config(worker_id="one")).start()


@pytest.mark.parametrize(
    ("changes", "is_dead"),
    [
        ({}, False),  # this very process
        ({"instance_id": OTHER_PROCESS}, True),  # our host name and pid, in an earlier life
        ({"instance_id": OTHER_PROCESS, "process_id": 1}, False),  # it runs, and is not ours to signal
        ({"instance_id": OTHER_PROCESS, "process_id": 2**22 + 1}, True),  # no such process
        ({"instance_id": OTHER_PROCESS, "process_id": 2**31 - 1}, True),
        ({"instance_id": OTHER_PROCESS, "process_id": 2**22 + 1, "hostname": "elsewhere"}, False),
    ],
)
def test_only_what_this_host_can_see_is_known_to_be_dead(changes: dict[str, Any], *, is_dead: bool) -> None:
    own = worker_identity("one", job_types=[], slots=1)
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "worker_id": "one",
        "instance_id": own.instance_id,
        "hostname": own.hostname,
        "process_id": own.process_id,
    }
    other = WorkerRecord(
        **fields | changes,
        version="1",
        job_types=(),
        slots=1,
        started_at=now,
        heartbeat_at=now,
        expires_at=now,
        stopping_at=None,
        is_live=True,
    )

    assert is_known_dead(other, own=own) is is_dead


def test_a_forked_process_is_another_instance() -> None:
    """Otherwise it would be taken for its parent, and the id of one that died for that of a live one."""
    script = (
        "import os\n"
        "from runledger.runtime.worker_identity import worker_identity\n"
        "own = worker_identity('one', job_types=[], slots=1)\n"
        "assert worker_identity('one', job_types=[], slots=1) == own\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(worker_identity('one', job_types=[], slots=1).instance_id == own.instance_id)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_the_reaper_forgets_workers_that_died_an_hour_ago(app: App) -> None:
    async with app.worker(worker_id="live"):
        await app.observer.execute(
            "INSERT INTO runledger.job_workers"
            " (worker_id, instance_id, hostname, process_id, version, job_types, slots, expires_at)"
            " SELECT 'dead ' || age, uuidv7(), 'h', 1, '1', '{}', 1, now() - age * interval '1 min'"
            " FROM unnest(ARRAY[30, 61]) AS age"
        )
        reaper = Reaper(app.database, app.registry, quiet_config())
        await reaper.start()
        await app.observer.until("(SELECT count(*) = 2 FROM runledger.job_workers)")
        await reaper.stop()

        assert [row.worker_id for row in await rows(app)] == ["dead 30", "live"]
