"""The ledger, for asyncio applications."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from runledger.client.administration import Administration
from runledger.client.argument_checks import check_connection, check_pool
from runledger.client.events_of_all_jobs import EventsOfAllJobs
from runledger.client.held_jobs import HeldJobs
from runledger.client.job_catalogs import JobCatalogs
from runledger.client.job_definitions import JobDefinitions
from runledger.client.job_schedules import JobSchedules
from runledger.client.log_lines import JobLogs
from runledger.client.run_watch import RunWatch
from runledger.client.runtime_configs import RuntimeConfigs
from runledger.client.single_jobs import SingleJobs
from runledger.client.workflow_runs import WorkflowRuns
from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.json_form import JsonEncodable
from runledger.postgres import (
    DEFAULT_SCHEMA,
    ConstraintClassifier,
    Database,
    IdempotencyCheck,
    Operation,
    ensure_schema_compatible_after_idempotency_cutover,
    jobs,
    migrate_after_idempotency_cutover,
    run,
)
from runledger.postgres.drivers.psycopg import AsyncConnection, AsyncConnectionPool
from runledger.postgres.drivers.psycopg.pooled_transaction import open_transaction
from runledger.postgres.notices import Notices
from runledger.postgres.notifier import Notifier

T = TypeVar("T")


class Ledger(
    JobCatalogs,
    JobDefinitions,
    JobSchedules,
    RuntimeConfigs,
    JobLogs,
    Administration,
    EventsOfAllJobs,
    HeldJobs,
    SingleJobs,
    WorkflowRuns,
):
    """What an application calls: enqueue jobs, read what became of them, cancel them and start them over.

    ::

        async with await Ledger.connect("postgresql:///app") as ledger:
            async with ledger.transaction() as connection:
                await connection.execute("INSERT INTO orders ...")
                await ledger.enqueue("order.confirm", {"order_id": 17}, connection=connection)

    A method that takes ``connection=``, as nearly all do, becomes part of the transaction of the caller's own open
    psycopg connection, and commits or rolls back with it. Without it the call has a transaction of its own. What has no
    such argument opens, closes and follows: :meth:`connect`, :meth:`close`, :meth:`transaction`, :meth:`tail_events`,
    :meth:`workflow_run`, whose handle takes it in its methods, and :meth:`runtime_config`.

    :class:`SyncLedger` is the same for blocking code.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        schema: str = DEFAULT_SCHEMA,
        classifier: ConstraintClassifier | None = None,
        notifies: bool = True,
    ) -> None:
        """Use an application's own pool, which stays the application's to close.

        Args:
            pool: An open pool.
            schema: The schema of Runledger's tables.
            classifier: Says how violations of the application's own constraints are shown, by their names; see
                :class:`~runledger.postgres.ErrorClass`.
            notifies: Whether idle workers are told of new jobs, and busy ones of canceled jobs, by NOTIFY. Without it
                they find out at their next poll and renewal.

        Raises:
            InvalidArgumentError: It is no pool of this kind; :meth:`connect` takes a URL.
        """
        check_pool(pool, AsyncConnectionPool, connect="`await Ledger.connect(url)`")
        self._pool = pool
        self._schema = schema
        self._classifier = classifier
        self._owns_pool = False
        self._notifies = notifies
        self._notifier = Notifier(lambda operation: run(pool, operation, schema=schema))
        self._run_watch = RunWatch(_database_of(pool, schema))

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        schema: str = DEFAULT_SCHEMA,
        min_connections: int = 1,
        max_connections: int = 10,
        classifier: ConstraintClassifier | None = None,
        notifies: bool = True,
    ) -> Self:
        """Open a ledger with a pool of its own; close it, or use it in ``async with``.

        Args:
            url: PostgreSQL URL or libpq ``key=value`` text.
            schema: The schema of Runledger's tables.
            min_connections: Connections that stay open.
            max_connections: Connections at most.
            classifier: Says how violations of the application's own constraints are shown, by their names; see
                :class:`~runledger.postgres.ErrorClass`.
            notifies: Whether idle workers are told of new jobs, and busy ones of canceled jobs, by NOTIFY. Without it
                they find out at their next poll and renewal.

        Raises:
            DatabaseConnectionError: PostgreSQL cannot be reached; the message says where.
            InvalidArgumentError: The URL or the schema name is no such thing.
        """
        pool = await Database(url, schema=schema).open_pool(min_size=min_connections, max_size=max_connections)
        ledger = cls(pool, schema=schema, classifier=classifier, notifies=notifies)
        ledger._owns_pool = True
        return ledger

    async def close(self) -> None:
        """Let go what workers are to be told, for a second at most, and close the pool, if the ledger opened it."""
        await self._notifier.finish()
        await self._run_watch.close()
        if self._owns_pool:
            await self._pool.close()

    async def __aenter__(self) -> Self:
        """Return the ledger."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the ledger."""
        await self.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """Open a transaction on a connection of the pool: committed at the end of the block, rolled back by an error.

        Give the connection to the methods as ``connection=``, and write the application's rows with it.

        Raises:
            DatabaseConnectionError: There was no connection, or the ledger is closed (``db.pool_closed``). What fails
                in the block, or when it is committed, comes as psycopg raises it.
            psycopg.errors.InFailedSqlTransaction: The block caught the error of a statement and ended well. Nothing was
                committed; put a savepoint (``connection.transaction()``) around what may fail.
        """
        async with open_transaction(self._pool) as connection:
            yield connection

    async def migrate(self, *, connection: AsyncConnection[Any] | None = None) -> list[int]:
        """Create or upgrade Runledger's tables and return the versions that were applied.

        Of many processes that start at once one migrates, the others wait and find nothing to do. Without a
        connection of the caller's the migrations are one transaction, and the validation of the checks on idempotency
        keys is a second one, which may read large tables and holds up nobody.

        Raises:
            IncompatibleSchemaError: The database was migrated by newer or other code; nothing was changed.
            LegacyIdempotencySnapshotsMissingError: The migrations are applied, but rows with an idempotency key from
                before the snapshots of their requests remain.
            QueryError: ``schema.migration_session_unsuitable``, ``schema.migration_lock_timeout``, or
                ``db.permission_denied``.
        """
        return await self._run(migrate_after_idempotency_cutover(), connection)

    async def check_schema(self, *, connection: AsyncConnection[Any] | None = None) -> list[IdempotencyCheck]:
        """Check that the tables are those of this version; nothing is created, changed or locked.

        For applications whose tables are migrated by somebody else. The checks that are returned hold for new rows
        and wait to be validated for the old ones; after :meth:`migrate` there are none.

        Raises:
            MissingMigrationHistoryError: The schema was never migrated.
            IncompatibleSchemaError: The database is older or newer than this version, or was migrated by other code.
            LegacyIdempotencySnapshotsMissingError: Rows with an idempotency key from before the snapshots remain.
        """
        return await self._run(ensure_schema_compatible_after_idempotency_cutover(), connection)

    async def enqueue(
        self,
        job_type: str,
        payload: JsonEncodable = None,
        *,
        organization_id: UUID | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,  # noqa: ASYNC109 (the job's, not this call's)
        run_at: datetime | None = None,
        run_in: timedelta | None = None,
        stage: str = "queued",
        idempotency_key: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> UUID:
        """Enqueue a job and return its id; with a key that is known, the id of the job that has it.

        Args:
            job_type: A type with an enabled definition.
            payload: What the handler gets: any JSON value, or an instance of what its annotation names.
            organization_id: The tenant it belongs to.
            priority: Higher runs first; from the definition when not given.
            max_attempts: From the definition when not given.
            timeout: How long one attempt may take, in whole seconds; from the definition when not given.
            run_at: When it is due; an aware datetime.
            run_in: How long from now it is due, by the database's clock; instead of ``run_at``.
            stage: A name for what the job waits for; at most 1,024 bytes.
            idempotency_key: Makes the call repeatable: a second one with the same key, type and organization gives
                the job of the first if everything else is the same too, and is refused if not.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: An argument breaks a rule; ``error.field`` names it.
            QueryError: Nothing was written: ``job.definition_not_found_or_disabled``; with a key
                ``job.idempotency_conflict``, ``job.legacy_idempotency_snapshot_missing`` or, in a transaction above
                READ COMMITTED, ``job.enqueue_idempotency_unsupported_isolation``.
            DatabaseConnectionError: ``db.transaction_commit_unconfirmed``: the connection was lost, and whether the
                job is there is not known. With any other code it is not.
        """
        request = EnqueueRequest(
            job_type,
            payload,
            organization_id=organization_id,
            priority=priority,
            max_attempts=max_attempts,
            timeout=timeout,
            run_at=run_at,
            run_in=run_in,
            stage=stage,
            idempotency_key=idempotency_key,
        )
        notices = self._notices(connection)
        return await self._run(jobs.enqueue_job(request, notices=notices), connection, notices)

    async def enqueue_many(
        self, requests: Iterable[EnqueueRequest], *, connection: AsyncConnection[Any] | None = None
    ) -> list[UUID]:
        """Enqueue many jobs in one transaction and return their ids in the order of the requests.

        The iterable is read while it is sent, so a generator over a large file needs little memory.

        A request whose key is known, also from an earlier one of them, gives the id of the job that has it.

        Raises:
            InvalidArgumentError: One of them cannot be stored, told by its place among all of them, such as
                ``requests[17].payload.price``; none is enqueued.
            QueryError: One of them is refused, as by :meth:`enqueue`; none is enqueued.
            DatabaseConnectionError: As by :meth:`enqueue`.
        """
        notices = self._notices(connection)
        return await self._run(jobs.enqueue_jobs(requests, notices=notices), connection, notices)

    async def _run(
        self, operation: Operation[T], connection: AsyncConnection[Any] | None, notices: Notices | None = None
    ) -> T:
        if connection is not None:
            check_connection(connection, AsyncConnection)
        target = self._pool if connection is None else connection
        result = await run(target, operation, schema=self._schema, classifier=self._classifier)
        if notices is not None:
            self._notifier.tell(notices)
        return result

    def _notices(self, connection: AsyncConnection[Any] | None) -> Notices | None:
        """Say how workers are told: in the caller's transaction, which alone knows its commit, or after our own."""
        return Notices(is_sent_inside=connection is not None) if self._notifies else None


def _database_of(pool: AsyncConnectionPool[Any], schema: str) -> Database | None:
    """Return where a pool connects to; ``None`` where only the pool itself knows."""
    try:
        return Database.of_pool(pool, schema=schema)
    except InvalidArgumentError:
        return None
