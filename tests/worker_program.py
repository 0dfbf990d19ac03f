"""A worker process as an application would have it, for tests that signal it or kill it.

Run as ``python -m tests.worker_program``; its settings are a JSON object on standard input. Says on standard error
what it does, one log record per line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from datetime import timedelta
from typing import Any

import psycopg

from runledger import JobContext, JobRegistry, JobsConfig, Ledger, Supervisor

_HOLD = "SELECT pg_advisory_lock_shared(1)"

# The application's own rows: one per execution, and one per effect however often it is executed.
_RECORD = """
WITH execution AS (INSERT INTO execution (job_id, attempt, worker_id) VALUES (%s, %s, %s))
INSERT INTO effect (job_id, effect) VALUES (%s, 'counted') ON CONFLICT DO NOTHING
"""


def registry_for(settings: dict[str, Any], ledger: Ledger) -> JobRegistry:
    registry = JobRegistry()
    url = settings["url"]
    executed = 0

    @registry.job("hold")
    async def hold(context: JobContext, payload: Any) -> Any:
        """Wait for whoever holds the advisory lock."""
        assert context
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(_HOLD)
        return payload

    @registry.job("hang")
    def hang(context: JobContext, payload: object) -> None:
        """Never end, in a thread that nothing can stop."""
        assert context
        assert payload is None
        logging.getLogger("program").info("hanging")
        threading.Event().wait()

    @registry.job("count")
    async def count(context: JobContext, payload: Any) -> Any:
        """Leave a row, and from some number of executions on never end."""
        nonlocal executed
        executed += 1
        number = executed
        async with ledger.transaction() as connection:
            await connection.execute(_RECORD, [context.job_id, context.attempt, context.worker_id, context.job_id])
        if number > settings.get("hangs_after", sys.maxsize):
            await asyncio.Event().wait()
        return payload

    return registry


async def main() -> None:
    settings = json.loads(sys.stdin.readline())
    config: dict[str, Any] = settings.get("config", {})
    for name, seconds in settings.get("durations", {}).items():
        config[name] = timedelta(seconds=seconds)
    async with await Ledger.connect(settings["url"]) as ledger:
        await Supervisor(settings["url"], registry_for(settings, ledger), JobsConfig(**config)).run_until_shutdown()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    asyncio.run(main())
