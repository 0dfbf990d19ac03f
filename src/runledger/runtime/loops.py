"""The loops one by one, for hosts that do not use the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from runledger.postgres import Database
from runledger.runtime.config import JobsConfig
from runledger.runtime.handler_pools import HandlerPool
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.scheduler import Scheduler
from runledger.runtime.worker import Worker


async def run_worker_loop(
    database: Database | str,
    registry: JobRegistry,
    config: JobsConfig,
    shutdown: asyncio.Event,
    *,
    pool: HandlerPool | None = None,
) -> None:
    """Run a worker until ``shutdown`` is set, then wait for its running jobs as long as the configuration allows.

    Args:
        database: Where the jobs are, or its URL; ``Database.of_pool(pool)`` takes it from an application's pool. The
            worker opens connections of its own, so that handlers have the pool to themselves.
        registry: The handlers.
        config: The settings.
        shutdown: Set it to stop.
        pool: The pool for the transactions of handlers, see :class:`Worker`.

    Raises:
        ConfigError: ``config.worker_id_taken``: a live worker has the id, at the start or after a long silence.
        RunledgerError: It could not be started, see :meth:`Worker.start`.
    """
    worker = Worker(database, registry, config, pool=pool)
    try:
        await worker.start()
        await _until_set(shutdown, worker.until_ended())
    finally:
        await worker.stop()


async def run_scheduler_loop(database: Database | str, config: JobsConfig, shutdown: asyncio.Event) -> None:
    """Run a scheduler until ``shutdown`` is set.

    Args:
        database: The database that holds the schedules, or its URL.
        config: The settings.
        shutdown: Set it to stop.

    Raises:
        DatabaseConnectionError: PostgreSQL cannot be reached at the start.
    """
    scheduler = Scheduler(database, config)
    try:
        await scheduler.start()
        await _until_set(shutdown, scheduler.until_ended())
    finally:
        await scheduler.stop()


async def run_reaper_loop(
    database: Database | str, registry: JobRegistry, config: JobsConfig, shutdown: asyncio.Event
) -> None:
    """Run a reaper until ``shutdown`` is set.

    Args:
        database: The database that holds the jobs, or its URL.
        registry: The handlers, for their dead-letter hooks.
        config: The settings.
        shutdown: Set it to stop.

    Raises:
        DatabaseConnectionError: PostgreSQL cannot be reached at the start.
    """
    reaper = Reaper(database, registry, config)
    try:
        await reaper.start()
        await _until_set(shutdown, reaper.until_ended())
    finally:
        await reaper.stop()


async def _until_set(shutdown: asyncio.Event, ending: Coroutine[None, None, None]) -> None:
    """Wait until somebody asks for a stop, or the loop ends by itself; raise what ended it."""
    tasks = [asyncio.create_task(shutdown.wait()), ended := asyncio.create_task(ending)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
    finally:
        for task in tasks:
            task.cancel()
