"""Records of workers name the worker, since several may run in one process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from runledger.core import JobContext, JobDeadLetterInfo, JobFailure, JobHandler, JsonValue
from runledger.postgres import Database
from runledger.runtime import Supervisor
from runledger.runtime.worker_log import WorkerLog
from tests.runtime.app import App, quiet_config
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"
OF_WORKERS = ("worker.", "lease_keeper.", "listener.", "registry.override")


class Mailer(JobHandler):
    """Fails in every way."""

    job_type = TYPE

    async def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
        raise JobFailure.terminal("smtp.failed", f"{context.job_id} {payload}")

    async def on_dead_letter(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        raise ValueError(context, payload, info)


async def test_fields_of_a_record_are_joined_to_its_worker(log: LogWatch) -> None:
    logger = WorkerLog("worker", "one")
    logger.warning("worker.limit_unused", extra={"job_type": TYPE})
    logger.warning("worker.no_handlers")

    assert [(record.name, vars(record)["worker_id"]) for record in log.records] == [("runledger.worker", "one")] * 2
    assert vars(log.records[0])["job_type"] == TYPE


async def test_what_goes_wrong_in_one_of_two_workers_is_said_with_its_id(app: App, log: LogWatch) -> None:
    app.registry.register(Mailer())
    app.registry.register_retry_delay_override("unknown.type", "some.code", timedelta(seconds=1))
    await app.enqueue(TYPE)
    async with wire_to(app.url) as wire:
        supervisor = Supervisor(
            Database(wire.url), app.registry, quiet_config(worker_id="one", max_concurrency_by_type={"unknown.type": 1})
        )
        settings = {"poll_interval": timedelta(milliseconds=5), "lease_ttl": timedelta(seconds=2)}
        supervisor.add_worker(app.registry, quiet_config(worker_id="two", **settings))
        running = asyncio.create_task(supervisor.run_until_shutdown())
        await log.wait_for("supervisor.started", count=2)
        await log.wait_for("worker.dead_letter_hook_failed")
        wire.refuse()
        for event in ("worker.claim_failed", "lease_keeper.renewal_failed", "listener.connection_lost"):
            await log.wait_for(event)
        wire.accept()
        for event in ("worker.claim_recovered", "lease_keeper.renewal_recovered", "listener.connection_recovered"):
            await log.wait_for(event)
        supervisor.request_shutdown()
        await asyncio.wait_for(running, 20)

    of_workers = [record for record in log.records if record.msg.startswith(OF_WORKERS)]
    assert {vars(record)["worker_id"] for record in of_workers} == {"one", "two"}
    assert {vars(record)["worker_id"] for record in log.named("worker.limit_unused")} == {"one"}
