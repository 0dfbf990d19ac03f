"""The worker: claims what it has free slots for, starts it at once, and hands outcomes to the completer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from datetime import datetime, timedelta

from runledger.core.errors import InvalidArgumentError, RunledgerError, UndecodableJsonError
from runledger.core.jobs.failure_decision import DeadLetterDecision, decide_failure
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure
from runledger.core.jobs.status import JobDeadLetterReason
from runledger.postgres import Database
from runledger.postgres.catalogs import CatalogSyncResult
from runledger.runtime.abandoned_threads import AbandonedThreads
from runledger.runtime.announcer import Announcer
from runledger.runtime.argument_checks import check_config, check_registry, database_of
from runledger.runtime.catalog import starting_operation
from runledger.runtime.claim_loop import ClaimLoop
from runledger.runtime.claimer import Claim, Claimer
from runledger.runtime.clock import monotonic
from runledger.runtime.completer import Completer
from runledger.runtime.config import JobsConfig
from runledger.runtime.dead_letter_hooks import DeadLetterHooks
from runledger.runtime.execution import AttemptTimeouts, CancelCause, Execution
from runledger.runtime.executor import Executor
from runledger.runtime.handler_pools import HandlerPool, HandlerPools
from runledger.runtime.handler_threads import HandlerThreads
from runledger.runtime.lease_keeper import LeaseKeeper, worker_id_taken
from runledger.runtime.lifecycle import LifecycleEvent, LifecycleEventKind
from runledger.runtime.listener import Listener
from runledger.runtime.log_writer import LogWriter
from runledger.runtime.observer_feed import ObserverFeed
from runledger.runtime.outcome import SHUTDOWN_CODE
from runledger.runtime.progress_writer import ProgressWriter
from runledger.runtime.registry import JobRegistry
from runledger.runtime.settlement import WorkerSettlement
from runledger.runtime.slots import ClaimTurns, TypeLimits
from runledger.runtime.worker_identity import worker_identity
from runledger.runtime.worker_log import WorkerLog
from runledger.runtime.workflow_access import WorkflowAccess

_CANCEL_GRACE_SECONDS = 5.0
_ABANDON_SECONDS = 0.25
_DRAIN_SECONDS = 10.0


class Worker:
    """Runs the jobs of the registered types.

    A claim asks for no more jobs than there are free slots, so nothing waits claimed.
    The claim itself marks the jobs as started. Claim, outcomes and lease renewal have connections of their own.

    Args:
        database: Where the jobs are, or its URL.
        registry: Handlers. The set of types is read once, when the worker starts.
        config: Settings.
        pool: The application's pool, open, for the transactions of handlers (``context.transaction()``): an
            ``AsyncConnectionPool`` for ``async`` handlers or a ``ConnectionPool`` for plain ones, of the same
            database. For handlers that it does not fit the worker opens one of its own when the first of them asks.
        observers: Who is told what happens to its jobs; stays the caller's to stop.
    """

    def __init__(
        self,
        database: Database | str,
        registry: JobRegistry,
        config: JobsConfig,
        *,
        pool: HandlerPool | None = None,
        observers: ObserverFeed | None = None,
    ) -> None:
        check_registry(registry)
        check_config(config)
        config.validate()
        self._config = config
        self._logger = WorkerLog("worker", config.worker_id)
        self._database = database = database_of(database)
        self._registry = registry
        self._job_types: list[str] = []
        self._lease_ttl = config.lease_ttl.total_seconds()
        self._held: set[Execution] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._occupied_slots = 0
        self._limits = TypeLimits(config.max_concurrency_by_type)
        self._abandoned = AbandonedThreads(config.worker_id)
        self._observers = observers or ObserverFeed()
        self._is_stopping = False
        self._is_closed = False
        self._closing = asyncio.Lock()
        self._failure: RunledgerError | None = None
        self._finished_count = self._returned_count = self._abandoned_count = 0
        self._threads = HandlerThreads()
        self._hooks = DeadLetterHooks([registry])
        self._progress_writer = ProgressWriter(database, worker_id=config.worker_id, lease_ttl=config.lease_ttl)
        self._log_writer = LogWriter(database, worker_id=config.worker_id, lease_ttl=config.lease_ttl)
        self._pools = HandlerPools(database, pool, max_size=config.max_global_concurrency)
        self._announcer = Announcer(database, notifies=config.listens, on_due=self.wake)
        self._workflow_access = WorkflowAccess(
            database,
            worker_id=config.worker_id,
            lease_ttl=config.lease_ttl,
            on_advanced=self._announcer.announce,
        )
        self._executor = Executor(
            registry,
            self._threads,
            progress_writer=self._progress_writer,
            log_writer=self._log_writer,
            pools=self._pools,
            workflow_access=self._workflow_access,
            is_stopping=self._is_ending,
            worker_id=config.worker_id,
        )
        self._claimer = Claimer(database, config)
        self._keeper = LeaseKeeper(
            database,
            worker_id=config.worker_id,
            lease_ttl=config.lease_ttl,
            held=self._held,
            on_id_taken=self._fail_over_taken_id,
        )
        self._claims = ClaimLoop(
            self._claimer,
            ClaimTurns(self._limits, self._job_types),
            self._limits,
            batch_size=config.claim_batch_size,
            poll_interval=config.poll_interval,
            lease_ttl=config.lease_ttl,
            capacity=self._free_capacity,
            begin=self._begin,
            worker_id=config.worker_id,
        )
        self._completer = Completer(
            database,
            worker_id=config.worker_id,
            lease_ttl=config.lease_ttl,
            on_settled=self._settled,
            on_dead_letter=self._dead_lettered,
            on_advanced=self._announcer.announce,
            on_relief=self._claims.has_room,
        )
        self._is_open = False
        self._listener: Listener | None = None

    @property
    def worker_id(self) -> str:
        """Its id."""
        return self._config.worker_id

    @property
    def job_types(self) -> list[str]:
        """The types it claims; known once it is open."""
        return self._job_types

    @property
    def lease_seconds(self) -> float:
        """The lease time."""
        return self._lease_ttl

    @property
    def running_count(self) -> int:
        """Jobs whose outcome is not known yet. May be read in any thread."""
        return len(self._running)

    @property
    def is_live(self) -> bool:
        """Whether it works: its loops run, and the event loop has turned within the lease time.

        It is live from its start until it has stopped. May be read in any thread, so that a blocked loop can be seen.
        """
        if self._is_closed or self._failure is not None or not self._keeper.is_alive:
            return False
        return self._is_stopping or self._claims.is_running

    @property
    def is_ready(self) -> bool:
        """Whether it takes jobs: live, not stopping, reaching the database, and not every slot is abandoned.

        May be read in any thread.
        """
        is_claiming = self._claims.is_claiming or not self._job_types
        is_able = self._keeper.is_well and self._abandoned.count < self._config.max_global_concurrency
        return self.is_live and not self._is_stopping and is_claiming and is_able

    async def start(self) -> None:
        """Connect, listen, and begin to claim.

        Raises:
            ConfigError: ``config.worker_id_taken``: a live worker has this id.
            DatabaseConnectionError: PostgreSQL cannot be reached.
            SchemaCompatibilityError: The tables are missing or older than this version.
            QueryError: The role may not use them.
        """
        await self.open()
        if self._config.listens and not self._is_stopping:
            self._listener = Listener(
                self._database,
                job_types=self._job_types,
                on_due=self.wake,
                on_canceled=self._keeper.check,
                worker_id=self.worker_id,
            )
            await self._listener.start()
        if self._is_stopping:  # meanwhile, and has not seen what was opened since
            await self._close()
            return
        self._claims.start()

    async def open(self) -> None:
        """Connect and begin to keep leases and to write outcomes, without claiming by itself; see :meth:`run_once`.

        Inserts the definitions of registered types that the database does not have yet. Those that exist stay as an
        operator may have set them. With a :class:`JobCatalog` it syncs that instead, unless the catalog says otherwise.

        Raises:
            ConfigError: ``config.worker_id_taken``: a live worker has this id.
            DatabaseConnectionError: PostgreSQL cannot be reached.
            SchemaCompatibilityError: The tables are missing or older than this version. Newer ones are accepted.
            QueryError: The role may not use them, or the catalog cannot be synced.
            InvalidArgumentError: The catalog is empty, or what it declares does not fit together.
        """
        if self._is_open or self._claims.is_ending:
            raise InvalidArgumentError("worker", "was opened before", "make another one")
        self._is_open = True
        self._registry.log_unused_overrides(self.worker_id)
        self._job_types += self._registry.registered_types()
        self._log_unused_limits()
        if not self._job_types:
            self._logger.warning("worker.no_handlers")
        identity = worker_identity(self.worker_id, job_types=self._job_types, slots=self._config.max_global_concurrency)
        try:
            self._log_sync(await self._claimer.prepare(starting_operation(self._registry)))
            await self._keeper.start(identity)  # before the first claim: a lease nobody can renew must not exist
            await self._completer.start()
            self._log_writer.start()
        except BaseException as error:
            await self._close()
            if self._is_stopping and isinstance(error, RunledgerError):
                return  # the stop has closed the connections under it
            raise
        if self._is_stopping:  # meanwhile, and has not seen what was opened since
            await self._close()

    def wake(self, due_at: datetime | None = None) -> None:
        """Claim now, or as soon as there is a free slot.

        Args:
            due_at: The earliest due time of the jobs for whose sake this is, by the database's clock; any when not
                given. They may have become visible long after it, at the commit of their transaction.
        """
        self._claims.wake(due_at)

    async def run_once(self) -> int:
        """Claim once, start what was claimed, and return how many jobs that were."""
        if not self._is_open:
            raise InvalidArgumentError("worker", "is not open", "call `await worker.open()` first")
        if self._failure is not None:
            raise self._failure
        return await self._claims.run_once()

    async def until_ended(self) -> None:
        """Wait until the worker ends, and raise what ended it if that was not a stop.

        Raises:
            ConfigError: ``config.worker_id_taken``: the worker was silent for its lease time, and another one started
                with its id.
        """
        await self._claims.until_ended()
        if self._failure is not None:
            raise self._failure

    async def finish_running(self) -> None:
        """Wait until every job claimed so far has ended, and its outcome and its log are written."""
        while self._running:
            await asyncio.wait(self._running)
        await self._log_writer.flush()
        await self._completer.drain()
        await self._hooks.finish()

    async def stop(self, *, handler_timeout: timedelta | None = None) -> WorkerSettlement:
        """Stop claiming, let running handlers end, write their outcomes, close everything, and say what became of them.

        Args:
            handler_timeout: How long handlers may go on; ``config.shutdown_timeout`` when not given. Then they are
                canceled and their attempt ends as a retryable ``job.worker_shutdown``. A thread cannot be canceled:
                it is abandoned, and the reaper returns its job when the lease ends.
        """
        seconds = (self._config.shutdown_timeout if handler_timeout is None else handler_timeout).total_seconds()
        cancel_at = monotonic() + seconds
        try:
            await self.stop_claiming()
            if self._running:
                await asyncio.wait(self._running, timeout=max(0.0, cancel_at - monotonic()))
            await self.cancel_running()
        finally:
            await self._close()
        return WorkerSettlement(
            worker_id=self.worker_id,
            finished=self._finished_count,
            returned=self._returned_count,
            abandoned=self._abandoned_count + len(self._held),
        )

    async def stop_claiming(self) -> None:
        """Claim no more. A claim in flight is waited for, and what it brings is given back.

        A database that does not answer within seconds cannot hold up the end of the process.
        """
        self._is_stopping = True
        self._keeper.worker_stops()
        await self._claims.stop()

    async def cancel_running(self) -> None:
        """Cancel the handlers that still run, and give them a moment to end."""
        for execution in list(self._held):
            execution.cancel(CancelCause.SHUTDOWN)
        if not self._running:
            return
        await asyncio.wait(self._running, timeout=_CANCEL_GRACE_SECONDS)
        for execution in list(self._held):
            execution.abandon()
        if self._running:
            _, pending = await asyncio.wait(self._running, timeout=_ABANDON_SECONDS)
            if pending:
                self._logger.error("worker.handlers_ignore_cancellation", extra={"job_count": len(pending)})

    async def _close(self) -> None:
        # Each is closed although one before it fails or is canceled: a keeper that goes on would keep the leases.
        async with self._closing, contextlib.AsyncExitStack() as stack:
            stack.callback(self._note_closed)
            stack.push_async_callback(self._claimer.close)
            stack.push_async_callback(self._pools.close)
            stack.callback(self._threads.close)
            stack.callback(self._abandoned.close)
            stack.push_async_callback(self._keeper.stop)
            if self._listener is not None:
                stack.push_async_callback(self._listener.stop)
            stack.push_async_callback(self._announcer.close)
            stack.push_async_callback(self._progress_writer.stop)
            stack.push_async_callback(self._workflow_access.stop)
            stack.push_async_callback(self._log_writer.stop)
            stack.push_async_callback(self._hooks.stop)
            stack.push_async_callback(self._completer.stop)
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._completer.drain()
            except TimeoutError:
                self._logger.error(  # noqa: TRY400 (the timeout is ours and says nothing)
                    "worker.outcomes_left_to_reaper", extra={"job_count": self._completer.unwritten_count}
                )

    def _note_closed(self) -> None:
        self._is_closed = True

    def _free_capacity(self) -> int:
        """How many jobs to claim: free slots, as long as outcomes that wait to be written stay within bounds."""
        slots = self._config.max_global_concurrency
        free_slots = slots - self._occupied_slots
        room_for_outcomes = 2 * slots - self._occupied_slots - self._completer.burden
        return min(free_slots, room_for_outcomes)

    def _begin(self, claim: Claim) -> None:
        self._occupied_slots += len(claim.jobs)
        by_timeout: dict[int, list[Execution]] = {}
        for job in claim.jobs:
            execution = Execution(job, claimed_at=claim.asked_at, lease_ttl=self._lease_ttl)
            by_timeout.setdefault(execution.timeout_seconds, []).append(execution)
            self._held.add(execution)
            self._running.add(asyncio.create_task(self._run(execution)))
            if self._observers.is_used:
                self._tell(execution, LifecycleEventKind.STARTED, None)
        for seconds, executions in by_timeout.items():
            AttemptTimeouts(seconds, executions)

    async def _run(self, execution: Execution) -> None:
        try:
            freed = functools.partial(self._slot_freed, execution)
            outcome = await self._executor.execute(execution, on_handler_ended=freed)
            if execution.holds_slot:
                self._abandoned.left(execution)
            self._completer.submit(execution, outcome)
        except Exception:
            # A defect of ours. No outcome is known, so the lease is left to end.
            self._logger.exception("worker.attempt_crashed", extra={"job_id": str(execution.job.job_id)})
            self._settled(execution, LifecycleEventKind.LEASE_LOST, None)
        finally:
            # Not by a done callback: one per job costs the event loop as much as a small handler.
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 (a coroutine runs in a task)
            self._running.discard(task)

    def _slot_freed(self, execution: Execution) -> None:
        execution.holds_slot = False
        self._abandoned.returned(execution)
        self._occupied_slots -= 1
        self._claims.has_room()
        if self._limits.free(execution.job.job_type):
            self._claims.type_has_room()

    def _settled(self, execution: Execution, kind: LifecycleEventKind, code: str | None) -> None:
        self._held.discard(execution)
        self._claims.has_room()
        if self._is_stopping:
            self._count_settled(kind, code)
        if self._observers.is_used:
            self._tell(execution, kind, code)

    def _count_settled(self, kind: LifecycleEventKind, code: str | None) -> None:
        if kind is LifecycleEventKind.LEASE_LOST:
            self._abandoned_count += 1
        elif kind is LifecycleEventKind.RETRY_SCHEDULED and code == SHUTDOWN_CODE:
            self._returned_count += 1
        else:
            self._finished_count += 1

    def _tell(self, execution: Execution, kind: LifecycleEventKind, code: str | None) -> None:
        started_at, ended_at, job = execution.started_at, execution.ended_at, execution.job
        self._observers.tell(
            LifecycleEvent(
                kind=kind,
                lease=execution.lease,
                job_type=job.job_type,
                organization_id=job.organization_id,
                code=code,
                duration=None if started_at is None or ended_at is None else timedelta(seconds=ended_at - started_at),
            )
        )

    def _fail_over_taken_id(self) -> None:
        """Claim no more: nobody could tell two workers with one id apart. What runs may end."""
        if self._failure is None:
            self._failure = worker_id_taken()
            self._logger.error("worker.id_taken")
            self._claims.give_up()

    def _log_unused_limits(self) -> None:
        for job_type in self._config.max_concurrency_by_type:
            if job_type not in self._job_types:
                self._logger.warning("worker.limit_unused", extra={"job_type": job_type})

    def _log_sync(self, result: object) -> None:
        if isinstance(result, CatalogSyncResult) and result.has_changes:
            self._logger.info(
                "worker.catalog_synced",
                extra={
                    "inserted": list(result.inserted),
                    "updated": list(result.updated),
                    "enabled": list(result.enabled),
                    "schedules_inserted": list(result.schedules.inserted),
                    "schedules_updated": list(result.schedules.updated),
                },
            )

    def _dead_lettered(self, execution: Execution, failure: JobFailure) -> None:
        job = execution.job
        decision = decide_failure(failure.kind, job.attempt, job.max_attempts, None)
        reason = (
            decision.reason
            if isinstance(decision, DeadLetterDecision)
            else JobDeadLetterReason.ATTEMPTS_EXHAUSTED  # max_attempts was lowered meanwhile
        )
        try:
            payload = job.payload
        except UndecodableJsonError:
            return  # the hook could not be given what the handler could not be given
        context = JobContext(
            job_id=job.job_id,
            job_type=job.job_type,
            run_number=job.run_number,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            organization_id=job.organization_id,
            worker_id=job.worker_id,
            workflow_run_id=job.workflow_run_id,
            workflow_step_key=job.workflow_step_key,
        )
        info = JobDeadLetterInfo(failure=failure, reason=reason, max_attempts=job.max_attempts)
        self._hooks.call_soon(context, payload, info)

    def _is_ending(self) -> bool:
        """Whether handlers may be canceled from outside: by a stop, or with all tasks when the event loop ends."""
        return self._claims.is_ending
