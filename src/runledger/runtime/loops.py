"""The loops one by one, for hosts that do not use the supervisor."""

from __future__ import annotations

import asyncio

from runledger.postgres import Database
from runledger.runtime.config import JobsConfig
from runledger.runtime.handler_pools import HandlerPool
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.worker import Worker


async def run_worker_loop(
    database: Database,
    registry: JobRegistry,
    config: JobsConfig,
    shutdown: asyncio.Event,
    *,
    pool: HandlerPool | None = None,
) -> None:
    """Run a worker until ``shutdown`` is set, then wait for its running jobs as long as the configuration allows.

    Args:
        database: Where the jobs are; ``Database.of_pool(pool)`` takes the place from an application's pool. The
            worker opens connections of its own, so that handlers have the pool to themselves.
        registry: Handlers.
        config: Settings.
        shutdown: Set it to stop.
        pool: For the transactions of handlers, see :class:`Worker`.
    """
    worker = Worker(database, registry, config, pool=pool)
    try:
        await worker.start()
        await shutdown.wait()
    finally:
        await worker.stop()


async def run_reaper_loop(
    database: Database, registry: JobRegistry, config: JobsConfig, shutdown: asyncio.Event
) -> None:
    """Run a reaper until ``shutdown`` is set.

    Args:
        database: Where the jobs are.
        registry: Handlers, for their dead-letter hooks.
        config: Settings.
        shutdown: Set it to stop.
    """
    reaper = Reaper(database, registry, config)
    try:
        await reaper.start()
        await shutdown.wait()
    finally:
        await reaper.stop()
