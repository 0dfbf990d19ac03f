"""Mistakes at the places where a worker is put together are told there, with the remedy."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, cast

import pytest

from runledger.core import ConfigError, InvalidArgumentError, JobContext, JobFailure
from runledger.postgres import Database, IncompatibleSchemaError, MissingMigrationHistoryError
from runledger.runtime import JobRegistry, JobsConfig, Reaper, Scheduler, Supervisor, Worker
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
    with pytest.raises(InvalidArgumentError, match=r"on_dead_letter: .* cannot be called with 3 arguments"):
        JobRegistry().register(HandlerWithHook())  # pyright: ignore[reportArgumentType]


class HandlerWithGeneratingHook(Handler):
    async def on_dead_letter(self, context: JobContext, payload: object, info: object) -> AsyncGenerator[object]:
        yield context, payload, info


def test_a_hook_of_which_a_call_runs_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"on_dead_letter: .* is a generator"):
        JobRegistry().register(HandlerWithGeneratingHook())  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (ignore, r'handler: is a function; register it with @registry\.job\("email\.send"\)'),
        ("email.send", "handler: is of type str, which has no method execute; pass a JobHandler"),
    ],
    ids=["function", "text"],
)
def test_what_is_no_handler_object_is_refused_with_its_remedy(handler: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{message}$"):
        JobRegistry().register(handler)


@pytest.mark.parametrize(
    ("setting", "value"), [("max_attempts", 0), ("timeout", 5), ("timeout", timedelta(0)), ("priority", "1")]
)
def test_a_default_is_refused_under_the_name_that_was_written(setting: str, value: Any) -> None:
    """Also before the function is known, so that the traceback shows the line of the decorator."""
    settings = {setting: value}
    handler: Any = Handler()
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == setting):
        JobRegistry().job("email.send", **settings)
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == setting):
        JobRegistry().register(handler, **settings)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((7, "smtp.busy", timedelta(1)), "job_type"),
        ((" ", "smtp.busy", timedelta(1)), "job_type"),
        (("email.send", None, timedelta(1)), "failure_code"),
        (("email.send", "", timedelta(1)), "failure_code"),
        (("email.send", "smtp.busy", 5), "delay"),
    ],
)
def test_a_retry_delay_of_something_else_is_refused(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == field):
        JobRegistry().register_retry_delay_override(*arguments)


async def test_a_retry_delay_of_a_type_that_is_not_registered_is_told_at_the_start(app: App, log: LogWatch) -> None:
    """Not earlier: the module of the handler may be imported later."""
    app.registry.register_retry_delay_override("email.send", "smtp.busy", timedelta(seconds=1))
    app.registry.register_retry_delay_override("emial.send", "smtp.busy", timedelta(seconds=1))
    app.registry.job("email.send")(ignore)

    async with app.worker():
        (record,) = log.named("registry.override_unused")

    assert (vars(record)["job_type"], vars(record)["failure_code"]) == ("emial.send", "smtp.busy")


def test_a_second_handler_for_a_type_is_told(log: LogWatch) -> None:
    registry = JobRegistry()
    registry.job("email.send")(ignore)
    registry.job("email.send")(ignore)

    (record,) = log.named("registry.handler_replaced")
    assert vars(record)["job_type"] == "email.send"


@pytest.mark.parametrize("make", [Worker, Reaper, Supervisor])
def test_a_loop_takes_a_database_or_its_url_and_a_registry(make: Any) -> None:
    make("postgresql:///app", JobRegistry(), JobsConfig())
    with pytest.raises(InvalidArgumentError, match="database: is of type int; pass its URL, Database"):
        make(5, JobRegistry(), JobsConfig())
    with pytest.raises(InvalidArgumentError, match="registry: is the class"):
        make(NOWHERE, JobRegistry, JobsConfig())


@pytest.mark.parametrize("make", [Worker, Reaper, Supervisor])
def test_settings_of_another_type_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="config is of type dict; pass a JobsConfig"):
        make(NOWHERE, JobRegistry(), {"a": 1})


def test_a_scheduler_takes_a_database_or_its_url_and_settings() -> None:
    Scheduler("postgresql:///app", JobsConfig())
    with pytest.raises(InvalidArgumentError, match="database: is of type NoneType; pass its URL"):
        Scheduler(cast("Any", None), JobsConfig())
    with pytest.raises(ConfigError, match="config is of type dict; pass a JobsConfig"):
        Scheduler(NOWHERE, cast("Any", {}))


async def test_a_worker_without_a_handler_says_so_once(app: App, log: LogWatch) -> None:
    async with app.worker():
        (record,) = log.named("worker.no_handlers")

    assert record.levelname == "WARNING"


async def test_a_worker_with_a_handler_has_nothing_to_say(app: App, log: LogWatch) -> None:
    app.registry.job("email.send")(ignore)

    async with app.worker():
        assert log.named("worker.no_handlers") == []


@pytest.mark.parametrize("url", [None, 5])
def test_a_supervisor_without_a_url_is_refused(url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="database: is of type"):
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
        with pytest.raises(InvalidArgumentError, match="supervisor: was started before"):
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


# The tables --------------------------------------------------------------------------------------------------------


async def test_a_worker_does_not_start_without_tables(app: App) -> None:
    elsewhere = Database(app.url, schema="elsewhere")

    with pytest.raises(MissingMigrationHistoryError, match=r'schema "elsewhere" at host .*`runledger migrate`'):
        await Worker(elsewhere, app.registry, quiet_config()).open()


async def test_a_worker_does_not_start_on_tables_older_than_itself(app: App) -> None:
    await app.observer.execute(
        "DELETE FROM runledger.runledger_migrations WHERE version = (SELECT max(version) FROM"
        " runledger.runledger_migrations)"
    )

    with pytest.raises(IncompatibleSchemaError, match=r"older than the code.*`runledger migrate`"):
        await Worker(app.database, app.registry, quiet_config()).open()


async def test_a_worker_starts_on_tables_newer_than_itself(app: App) -> None:
    """In a rolling release migrations come first, and processes of the old code may start after them."""
    await app.observer.execute("INSERT INTO runledger.runledger_migration_history (version) VALUES (999912310001)")

    async with app.worker() as worker:
        assert await worker.run_once() == 0
