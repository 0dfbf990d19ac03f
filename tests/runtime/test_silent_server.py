"""A server that does not answer any more does not hold up who was told to end."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from runledger.core import EnqueueRequest
from runledger.postgres import Database, jobs
from runledger.runtime import Supervisor
from runledger.runtime.job_context import AsyncJobContext
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import Gate, echo
from tests.wire import wire_to

TYPE = "email.send"
_CANCEL_SECONDS = "runledger.postgres.drivers.psycopg.own_connection._CANCEL_SECONDS"
# The driver alone waits five seconds for the cancellation of a statement, and five for its end.
_SOON = 4.0


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_who_is_canceled_does_not_wait_for_it_and_leaves_no_statement_behind(
    app: App, monkeypatch: pytest.MonkeyPatch, cancellations: int
) -> None:
    """The second one comes while the server is asked to cancel, which is longer here than the test has patience."""
    monkeypatch.setattr(_CANCEL_SECONDS, 0.05 if cancellations == 1 else 60.0)
    async with wire_to(app.url) as wire:
        connection = Database(wire.url).own_connection()
        await connection.open()
        wire.freeze()
        run = asyncio.create_task(connection.run(jobs.list_job_definitions()))
        for held in range(1, cancellations + 1):
            await wire.until_held(held)  # the statement, then the request to cancel it
            run.cancel()
        await asyncio.wait([run], timeout=_SOON)

        assert run.cancelled()
        wire.thaw()
        assert await connection.run(jobs.list_job_definitions()) == []
        await connection.close()


async def test_who_is_canceled_while_it_answers_takes_the_statement_back(app: App) -> None:
    app.registry.job(TYPE)(echo)
    await app.ledger.ensure_job_definitions(app.registry.definitions())
    async with app.database.own_connection() as connection:
        async with app.observer.locked("job_queue"):
            run = asyncio.create_task(connection.run(jobs.enqueue_job(EnqueueRequest(TYPE, None))))
            await app.observer.until_blocked()
            run.cancel()
            await asyncio.wait([run])

        assert run.cancelled()
        assert await app.count("PENDING") == 0
        await connection.run(jobs.enqueue_job(EnqueueRequest(TYPE, None)))

    assert await app.count("PENDING") == 1


async def test_all_parts_stop_within_their_graces(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """These are short here, so whatever else waits would be seen."""
    for grace in (
        _CANCEL_SECONDS,
        "runledger.runtime.claim_loop._GRACE_SECONDS",
        "runledger.runtime.claimer._LAST_RECONCILE_SECONDS",
        "runledger.runtime.worker._CANCEL_GRACE_SECONDS",
        "runledger.runtime.worker._DRAIN_SECONDS",
        "runledger.runtime.lease_keeper._STOP_SECONDS",
        "runledger.runtime.log_writer._STOP_SECONDS",
        "runledger.runtime.handler_pools._CLOSE_SECONDS",
        "runledger.runtime.reaper._PASS_GRACE_SECONDS",
        "runledger.runtime.scheduler._PASS_GRACE_SECONDS",
    ):
        monkeypatch.setattr(grace, 0.05)
    gate = Gate()

    @app.registry.job("plain")
    async def plain(context: AsyncJobContext, payload: object) -> None:
        await gate.handle(context, payload)
        context.log("about to end")

    @app.registry.job("reporting")
    async def reporting(context: AsyncJobContext, payload: object) -> None:
        await gate.handle(context, payload)
        await context.progress(1)

    @app.registry.job("writing")
    async def writing(context: AsyncJobContext, payload: object) -> None:
        async with context.transaction() as connection:
            await gate.handle(context, payload)
            await connection.execute("SELECT")

    for job_type in ("plain", "reporting", "writing"):
        await app.enqueue(job_type)
    config = quiet_config(poll_interval=timedelta(milliseconds=20), shutdown_timeout=timedelta(milliseconds=50))
    async with wire_to(app.url) as wire:
        supervisor = Supervisor(wire.url, app.registry, config)
        await supervisor.start()
        await gate.until_running(3)
        wire.freeze()
        gate.open()
        await wire.until_held(5)  # a claim, progress, a line of the log, an outcome, and the handler's own statement
        began = time.monotonic()
        report = await supervisor.stop()
        seconds = time.monotonic() - began
        wire.cut()

    assert seconds < _SOON
    assert report.abandoned == 3
