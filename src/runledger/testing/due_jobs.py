"""Carry out what is due, and what becomes due by it."""

from __future__ import annotations

from datetime import timedelta

from psycopg.sql import SQL, Identifier

from runledger.core.jobs.setting_checks import check_int32
from runledger.postgres import Database
from runledger.runtime import JobRegistry, JobsConfig, LifecycleEvent, LifecycleEventKind, ObserverFeed, Worker
from runledger.runtime.argument_checks import database_of
from runledger.testing.errors import EndlessJobsError

_MAKE_DUE = SQL("UPDATE {}.job_queue SET next_run_at = now() WHERE status = 'PENDING' AND next_run_at > now()")


async def run_due_jobs(
    database: Database | str, registry: JobRegistry, config: JobsConfig | None = None, *, max_attempts: int = 1_000
) -> list[LifecycleEvent]:
    """Carry out jobs until none is due, with a worker of its own, and return how each attempt ended.

    Among them are jobs that become due meanwhile: those that handlers enqueue, the steps of a workflow behind others,
    and retries without a delay. A job that is due later, such as one that waits for its retry, is left alone until
    :func:`make_jobs_due`, and a gate stays open. Nothing sleeps::

        ended = await run_due_jobs(runledger_database.url, registry)
        assert [(attempt.job_type, attempt.kind) for attempt in ended] == [("invoice.send", "SUCCEEDED")]

    Args:
        database: The database that holds the jobs, or its URL.
        registry: The handlers. Jobs of other types are left alone.
        config: The settings of the worker; by default those of :class:`~runledger.runtime.JobsConfig`, whatever the
            environment says.
        max_attempts: After how many attempts it stops with an error.

    Returns:
        The ends of the attempts, in the order in which they were written.

    Raises:
        EndlessJobsError: There were more attempts: most likely a handler enqueues its own type, for ever.
        InvalidArgumentError: ``max_attempts`` is not positive, or what is given is no database or no registry.
        DatabaseConnectionError: PostgreSQL cannot be reached.
        QueryError: The tables cannot be used.
    """
    check_int32("max_attempts", max_attempts, minimum=1)
    ends = _Ends()
    worker = Worker(database, registry, JobsConfig() if config is None else config, observers=ends)
    await worker.open()
    attempts = 0
    try:
        while claimed := await worker.run_once():
            await worker.finish_running()
            attempts += claimed
            if attempts > max_attempts:
                raise EndlessJobsError(max_attempts, ends.events[-1].job_type)
    finally:
        await worker.stop(handler_timeout=timedelta())
    return ends.events


def make_jobs_due(database: Database | str) -> int:
    """Let every job that waits for its time be due now, and return how many those are.

    So a test need not wait for the delay of a retry, nor for a ``run_at``::

        await run_due_jobs(runledger_database.url, registry)  # the first attempt fails
        make_jobs_due(runledger_database.url)
        await run_due_jobs(runledger_database.url, registry)  # the second one

    Only for databases of tests: nothing in the history of the jobs says that their time was moved.

    Args:
        database: Where the jobs are, or its URL.

    Raises:
        InvalidArgumentError: What is given is no database.
        DatabaseConnectionError: PostgreSQL cannot be reached.
    """
    place = database_of(database)
    with place.open_sync_pool(min_size=1, max_size=1) as pool, pool.connection() as connection:
        return connection.execute(_MAKE_DUE.format(Identifier(place.schema))).rowcount


class _Ends(ObserverFeed):
    """Keeps the ends of attempts at once, where others are told them in batches and may miss some."""

    def __init__(self) -> None:
        super().__init__()
        self.is_used = True
        self.events: list[LifecycleEvent] = []

    def tell(self, event: LifecycleEvent) -> None:
        """Keep an event, if it is an end."""
        if event.kind is not LifecycleEventKind.STARTED:
            self.events.append(event)
