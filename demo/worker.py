"""``python -m demo.worker URL WORKER_ID``: a worker process of the demonstration."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from psycopg import Connection
from psycopg_pool import ConnectionPool

from demo.jobs import make_registry
from runledger import JobsConfig, Supervisor


async def main(url: str, worker_id: str) -> None:
    """Run until SIGTERM."""
    config = JobsConfig(
        worker_id=worker_id,
        max_global_concurrency=8,
        claim_batch_size=8,
        poll_interval=timedelta(milliseconds=100),
        # Short, so that the death of a worker is noticed within seconds. A minute is a better choice outside a show.
        lease_ttl=timedelta(seconds=3),
        reaper_interval=timedelta(seconds=1),
        reaper_retry_delay=timedelta(milliseconds=200),
    )
    pool: ConnectionPool[Connection] = ConnectionPool(url, min_size=1, max_size=8, open=True)
    try:
        await Supervisor(url, make_registry(), config, pool=pool).run_until_shutdown()
    finally:
        pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
