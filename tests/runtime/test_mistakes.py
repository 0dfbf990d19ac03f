"""Mistakes at the places where a worker is put together are told there, with the remedy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runledger.core import ConfigError, InvalidArgumentError, JobContext, JobFailure
from runledger.postgres import Database
from runledger.runtime import JobRegistry, JobsConfig, Reaper, Supervisor, Worker
from tests.runtime.app import App, quiet_config
from tests.runtime.log_watch import LogWatch

NOWHERE = Database("postgresql://127.0.0.1:1/nowhere")


async def ignore(context: JobContext, payload: object) -> None:
    assert context
    assert payload is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_global_concurrency": 2.5}, "max_global_concurrency is of type float; pass a whole number"),
        ({"claim_batch_size": True}, "claim_batch_size is of type bool; pass a whole number"),
        ({"poll_interval": 5}, "poll_interval is of type int; pass a datetime.timedelta"),
        ({"shutdown_timeout": None}, "shutdown_timeout is of type NoneType; pass a datetime.timedelta"),
        ({"worker_id": 7}, "worker_id is of type int; pass a text"),
        ({"lease_ttl": timedelta()}, "lease_ttl must be at least one millisecond"),
    ],
    ids=["float", "bool", "number", "nothing", "worker id", "too short"],
)
def test_a_setting_that_cannot_work_is_refused_where_it_is_written(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JobsConfig(**settings)


def test_a_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"job_type: is a function; write @registry\.job"):
        JobRegistry().job(ignore)  # pyright: ignore[reportArgumentType]


class Handler:
    job_type = "email.send"

    async def execute(self, context: JobContext, payload: object) -> None:
        await ignore(context, payload)


class HandlerWithHook(Handler):
    async def on_dead_letter(self, context: JobContext) -> None: ...


def test_a_class_in_place_of_its_instance_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="handler: is the class Handler; pass an instance"):
        JobRegistry().register(Handler)  # pyright: ignore[reportArgumentType]


def test_a_hook_that_could_not_be_called_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"on_dead_letter: .* cannot be called with three arguments"):
        JobRegistry().register(HandlerWithHook())  # pyright: ignore[reportArgumentType]


def test_a_second_handler_for_a_type_is_told(log: LogWatch) -> None:
    registry = JobRegistry()
    registry.job("email.send")(ignore)
    registry.job("email.send")(ignore)

    (record,) = log.named("registry.handler_replaced")
    assert vars(record)["job_type"] == "email.send"


@pytest.mark.parametrize("make", [Worker, Reaper])
def test_a_loop_takes_a_database_and_a_registry(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="database: is of type str; pass Database"):
        make("postgresql:///app", JobRegistry(), JobsConfig())
    with pytest.raises(InvalidArgumentError, match="registry: is the class"):
        make(NOWHERE, JobRegistry, JobsConfig())


@pytest.mark.parametrize("url", [None, 5])
def test_a_supervisor_without_a_url_is_refused(url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="database_url: is of type"):
        Supervisor(url, JobRegistry())


@pytest.mark.parametrize(
    ("url", "problem"),
    [("", "is empty"), (" ", "is empty"), ("postgresql:///app\n", "begins or ends with white space")],
)
def test_a_url_that_would_lead_elsewhere_is_refused(url: str, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"database_url: {problem}"):
        Database(url)


async def test_a_worker_that_is_not_open_does_not_claim() -> None:
    with pytest.raises(InvalidArgumentError, match="worker: is not open"):
        await Worker(NOWHERE, JobRegistry(), quiet_config()).run_once()


async def test_a_supervisor_starts_once(app: App) -> None:
    supervisor = Supervisor(app.database, app.registry, quiet_config())
    await supervisor.start()
    try:
        with pytest.raises(InvalidArgumentError, match="worker: was opened before"):
            await supervisor.start()
    finally:
        await supervisor.stop()


async def test_a_computed_delay_that_is_over_retries_at_once(app: App) -> None:
    @app.registry.job("email.send")
    async def send(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        raise JobFailure.retryable("smtp.busy", "try later", retry_in=timedelta(seconds=-3))

    job = await app.run("email.send")

    assert (job.status.value, job.last_error_code) == ("PENDING", "smtp.busy")
