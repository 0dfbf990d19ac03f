"""Declaring job types, overrides and schedules in one place, and what workers do with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import (
    CatalogDeclaration,
    EnqueueRequest,
    InvalidArgumentError,
    InvalidCronError,
    JobContext,
    JobDefinition,
    JobFailure,
    JobHandler,
    PayloadMismatchError,
    ScheduleRequest,
    Workflow,
    WorkflowAppend,
    WorkflowRunEnqueueBuilder,
)
from runledger.postgres import QueryError
from runledger.runtime import JobCatalog, JobRegistry, Supervisor, Worker
from tests.runtime.app import App, quiet_config
from tests.runtime.log_watch import LogWatch

JOB = UUID("018fa1f8-0000-7000-8000-000000000123")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Email:
    to: str
    copies: int = 1


async def send(context: JobContext, payload: Email) -> None:
    assert all([context, payload])


async def build(context: JobContext, payload: Any) -> None:
    assert context, payload


@pytest.fixture
def catalog() -> JobCatalog:
    """A catalog of two types; the payloads of one are checked."""
    made = JobCatalog("shop")
    made.job("email.send", max_attempts=5)(send)
    made.job("report.build")(build)
    return made


def refused(code: str, text: str) -> Any:
    return pytest.raises(InvalidArgumentError, check=lambda error: error.code == code and text in str(error))


def test_it_declares_types_and_schedules(catalog: JobCatalog) -> None:
    catalog.schedule("nightly", "report.build", cron="30 2 * * *", timezone="Europe/Berlin", payload={"of": "sales"})

    assert catalog.declaration() == CatalogDeclaration(
        scope="shop",
        definitions=(JobDefinition(job_type="email.send", max_attempts=5), JobDefinition(job_type="report.build")),
        schedules=(
            ScheduleRequest(
                name="nightly",
                job_type="report.build",
                cron_expr="30 2 * * *",
                timezone="Europe/Berlin",
                payload_template={"of": "sales"},
            ),
        ),
    )


def test_it_collects_registries() -> None:
    mail, reports = JobRegistry(), JobRegistry()
    mail.job("email.send")(send)
    mail.register_retry_delay_override("email.send", "smtp.busy", MINUTE)
    reports.job("report.build")(build)

    catalog = JobCatalog("shop", mail, reports)

    assert catalog.registered_types() == ["email.send", "report.build"]
    assert catalog.retry_delay("email.send", JOB, 1, JobFailure.retryable("smtp.busy", "later")) == MINUTE


def test_a_type_in_two_registries_is_refused(catalog: JobCatalog) -> None:
    mail = JobRegistry()
    mail.job("email.send")(send)

    with refused("argument.invalid", "has another handler for 'email.send'"):
        catalog.include(mail)


@pytest.mark.parametrize("other", [JobCatalog("crm"), JobRegistry, "shop"], ids=["catalog", "class", "text"])
def test_what_is_no_registry_is_not_collected(other: Any) -> None:
    with refused("argument.invalid", "pass a JobRegistry"):
        JobCatalog("shop", other)


def test_settings_are_overridden_and_the_last_one_wins(catalog: JobCatalog) -> None:
    catalog.override_definition("email.send", max_attempts=2, timeout=MINUTE, priority=7)
    catalog.override_definition("email.send", max_attempts=1, is_enabled=False)

    assert catalog.definitions()[0] == JobDefinition(
        job_type="email.send", max_attempts=1, default_timeout=MINUTE, default_priority=7, is_enabled=False
    )
    assert catalog.definitions()[1] == JobDefinition(job_type="report.build")


def test_settings_are_overridden_from_a_configuration(catalog: JobCatalog) -> None:
    text = '{"email.send": {"max_attempts": 2, "timeout_seconds": 60, "priority": -1, "is_enabled": false}}'
    catalog.override_definitions(json.loads(text))

    assert catalog.definitions()[0] == JobDefinition(
        job_type="email.send", max_attempts=2, default_timeout=MINUTE, default_priority=-1, is_enabled=False
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"timeout": 60}, "settings: 'email.send' has an unknown setting 'timeout'; allowed are max_attempts, timeout"),
        ({"timeout_seconds": "60"}, "settings['email.send'].timeout_seconds: "),
        ({"max_attempts": 0}, "settings['email.send'].max_attempts: "),
        ({"priority": 1.5}, "settings['email.send'].priority: "),
        ({"is_enabled": "no"}, "settings['email.send'].is_enabled: "),
    ],
)
def test_a_setting_that_cannot_be_is_refused(catalog: JobCatalog, settings: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        catalog.override_definitions({"email.send": settings})

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ([], "is of type list"),
        ("{}", "is of type str"),
        ({"email.send": 5}, "'email.send' has a value of type int"),
    ],
    ids=["list", "text", "number"],
)
def test_settings_of_another_shape_are_refused(settings: Any, problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^settings: {problem}; pass for each job type a dict"):
        JobCatalog("shop").override_definitions(settings)


def test_an_override_of_an_unknown_type_is_told_when_all_are_known() -> None:
    catalog = JobCatalog("shop")
    catalog.override_definition("emial.send", max_attempts=2)
    catalog.override_definition("email.send", max_attempts=2)
    catalog.job("email.send")(send)

    with refused(
        "job_definition.not_declared", "override: names the job type 'emial.send', which the catalog does not"
    ):
        catalog.definitions()


def test_a_schedule_of_an_unknown_type_is_told_with_similar_ones(catalog: JobCatalog) -> None:
    catalog.schedule("nightly", "report.biuld", "30 2 * * *")

    with refused("job_definition.not_declared", "schedule 'nightly': names the job type 'report.biuld', which"):
        catalog.declaration()
    with refused("job_definition.not_declared", "did you mean 'report.build'?"):
        catalog.declaration()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"cron": "0 25 * * *"}, "cron (hour): has 25; "),
        ({"cron": " "}, "cron: is blank; "),
        ({"payload": {"of": float("nan")}}, "payload.of: is NaN or infinite; "),
        ({"max_jitter": 5}, "max_jitter: is of type int; "),
    ],
)
def test_an_argument_of_a_schedule_is_refused_by_its_own_name(
    catalog: JobCatalog, arguments: dict[str, Any], text: str
) -> None:
    given: dict[str, Any] = {"cron": "30 2 * * *"}

    with pytest.raises(InvalidArgumentError) as caught:
        catalog.schedule("nightly", "report.build", **given | arguments)

    assert str(caught.value).startswith(text)
    assert isinstance(caught.value, InvalidCronError) == text.startswith("cron")


def test_a_second_handler_of_a_type_is_refused(catalog: JobCatalog, log: LogWatch) -> None:
    class Send(JobHandler):
        job_type = "email.send"

        async def execute(self, context: JobContext, payload: Any) -> None: ...

    for declare in (lambda: catalog.job("email.send")(build), lambda: catalog.register(Send())):
        with refused("argument.invalid", "job_type: 'email.send' has a handler in this catalog already; declare each"):
            declare()

    registered = catalog.get("email.send")
    assert registered is not None
    assert (registered.execute, log.named("registry.handler_replaced")) == (send, [])


def test_a_schedule_may_stand_before_its_handler() -> None:
    catalog = JobCatalog("shop")
    catalog.schedule("nightly", "email.send", "30 2 * * *", payload=Email("a@example.org"))
    catalog.job("email.send")(send)

    assert [one.name for one in catalog.declaration().schedules] == ["nightly"]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "schedule 'nightly', payload.to: is missing"),
        ({"to": 1}, "schedule 'nightly', payload.to: expected text, found integer"),
        # It becomes the member `payload` of an object.
        ("a@example.org", "schedule 'nightly', payload.to: is missing"),
    ],
    ids=["missing", "other kind", "no object"],
)
def test_a_schedule_whose_payload_its_handler_would_refuse_is_told(
    catalog: JobCatalog, payload: Any, text: str
) -> None:
    catalog.schedule("nightly", "email.send", "30 2 * * *", payload=payload)

    with pytest.raises(PayloadMismatchError) as caught:
        catalog.declaration()

    assert str(caught.value) == text


def test_a_handler_that_does_not_take_the_origin_of_a_schedule_is_told(catalog: JobCatalog) -> None:
    async def count(context: JobContext, payload: dict[str, UUID]) -> None:
        assert all([context, payload])

    catalog.job("count")(count)
    catalog.schedule("nightly", "count", "30 2 * * *")

    with pytest.raises(PayloadMismatchError, match="_schedule"):
        catalog.declaration()


def test_a_name_is_that_of_one_schedule(catalog: JobCatalog) -> None:
    catalog.schedule("nightly", "report.build", "30 2 * * *")

    with refused("argument.invalid", "name: 'nightly' is that of another schedule"):
        catalog.schedule("nightly", "email.send", "30 2 * * *")


def test_a_wrong_expression_is_told_where_it_is_declared(catalog: JobCatalog) -> None:
    with pytest.raises(InvalidCronError):
        catalog.schedule("nightly", "report.build", "30 25 * * *")


def test_a_zone_that_nobody_knows_is_told_where_it_is_declared(catalog: JobCatalog) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        catalog.schedule("weekly", "report.build", "@weekly", timezone="Europe/Berln")

    assert caught.value.code == "job_schedule.invalid_timezone"
    problem = "timezone of schedule 'weekly': is not a time zone that this host knows ('Europe/Berln'); pass "
    assert str(caught.value).startswith(problem)
    assert "weekly" not in [schedule.name for schedule in catalog.declaration().schedules]


def test_an_empty_catalog_declares_nothing() -> None:
    with refused("job_definition.empty_job_type_list", "import the modules"):
        JobCatalog("shop").declaration()


def test_a_catalog_has_a_name() -> None:
    with refused("argument.invalid", "scope: is blank"):
        JobCatalog(" ")


def test_a_request_is_one_of_a_declared_type_with_a_payload_that_fits(catalog: JobCatalog) -> None:
    due = datetime(2096, 1, 1, tzinfo=UTC)

    assert catalog.request(
        "email.send", Email("a@example.org"), priority=3, run_at=due, idempotency_key="k"
    ) == EnqueueRequest("email.send", Email("a@example.org"), priority=3, run_at=due, idempotency_key="k")
    assert catalog.request("report.build") == EnqueueRequest("report.build", None)
    assert catalog.request("email.send", {"to": "a@example.org"}, run_in=MINUTE).run_in == MINUTE


@pytest.mark.parametrize(
    ("job_type", "text"),
    [
        (
            "email.sent",
            "job_type: names the job type 'email.sent', which the catalog does not declare; did you mean 'email.send'?",
        ),
        (
            "x",
            "job_type: names the job type 'x', which the catalog does not declare; declare it, or correct the name",
        ),
    ],
)
def test_a_request_of_an_unknown_type_is_told_with_similar_ones(catalog: JobCatalog, job_type: str, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        catalog.request(job_type, {"to": "secret"})

    assert (caught.value.code, str(caught.value)) == ("job_definition.not_declared", text)


@pytest.mark.parametrize("payload", [None, {"to": None}, {"to": "a", "copies": "secret"}, ["secret"]])
def test_a_request_whose_payload_the_handler_would_refuse_is_told(catalog: JobCatalog, payload: Any) -> None:
    with pytest.raises(PayloadMismatchError) as caught:
        catalog.request("email.send", payload)

    assert str(caught.value).startswith("payload")
    assert "secret" not in str(caught.value)


def test_a_payload_that_cannot_be_encoded_is_told(catalog: JobCatalog) -> None:
    with pytest.raises(InvalidArgumentError, match="payload"):
        catalog.request("report.build", {"at": float("nan")})


def test_the_steps_of_a_workflow_are_checked(catalog: JobCatalog) -> None:
    flow = Workflow("release")
    built = flow.job("build", "report.build")
    approved = flow.gate("approve", after=built)
    flow.job("tell", "email.send", Email("a@example.org"), after=approved)

    catalog.check_workflow(flow)
    catalog.check_workflow(flow.build())
    catalog.check_workflow(flow.build().steps)


def test_a_step_that_cannot_run_is_told(catalog: JobCatalog) -> None:
    unknown, unfit = Workflow("release"), WorkflowAppend()
    unknown.job("tell", "email.sned")
    unfit.job("tell", "email.send", {"to": 1})

    with refused("job_definition.not_declared", "step 'tell': names the job type 'email.sned', which"):
        catalog.check_workflow(unknown)
    with pytest.raises(PayloadMismatchError, match=r"step 'tell', payload\.to: expected text, found integer"):
        catalog.check_workflow(unfit)


@pytest.mark.parametrize("mistake", [{"a": 1}, None, 5, WorkflowRunEnqueueBuilder("release"), "release"])
def test_what_is_no_workflow_is_refused_by_its_type(catalog: JobCatalog, mistake: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"workflow: is of type {type(mistake).__name__}; pass a Workflow"):
        catalog.check_workflow(mistake)


async def test_a_worker_syncs_its_catalog_when_it_starts(app: App, catalog: JobCatalog, log: LogWatch) -> None:
    await app.ledger.upsert_job_definitions([JobDefinition(job_type="email.send", is_enabled=False)])
    catalog.schedule("nightly", "report.build", "30 2 * * *")

    for _ in range(2):
        worker = Worker(app.database, catalog, quiet_config())
        await worker.open()
        await worker.stop()

    definition = await app.ledger.get_job_definition("email.send")
    assert definition == JobDefinition(
        job_type="email.send", max_attempts=5, is_enabled=False, catalog_scope=catalog.scope
    )
    assert await app.ledger.get_schedule("nightly") is not None
    (record,) = log.named("worker.catalog_synced")
    facts = vars(record)
    assert (facts["inserted"], facts["updated"]) == (["report.build"], ["email.send"])
    assert facts["schedules_inserted"] == ["nightly"]


async def test_unless_the_catalog_is_synced_elsewhere(app: App) -> None:
    await app.ledger.ensure_job_definitions([JobDefinition(job_type="email.send", max_attempts=2)])
    catalog = JobCatalog("shop", syncs_at_start=False)
    catalog.job("email.send", max_attempts=5)(send)
    catalog.job("report.build")(build)
    catalog.override_definition("report.build", max_attempts=3)
    catalog.schedule("nightly", "report.build", "30 2 * * *")

    worker = Worker(app.database, catalog, quiet_config())
    await worker.open()
    await worker.stop()

    definitions = await app.ledger.list_job_definitions()
    assert [(one.job_type, one.max_attempts) for one in definitions] == [("email.send", 2), ("report.build", 3)]
    assert await app.ledger.get_schedule("nightly") is None


async def test_a_supervisor_runs_the_jobs_of_a_catalog(app: App) -> None:
    got: list[Email] = []
    catalog = JobCatalog("shop")

    @catalog.job("email.send")
    async def keep(context: JobContext, payload: Email) -> None:
        assert context
        got.append(payload)
        supervisor.request_shutdown()

    await app.ledger.sync_catalog(catalog)
    await app.ledger.enqueue_many([catalog.request("email.send", Email("a@example.org"))])
    supervisor = Supervisor(app.url, catalog, quiet_config())
    report = await supervisor.run_until_shutdown()

    assert (got, report.errors) == ([Email("a@example.org")], ())


async def test_a_worker_does_not_start_when_its_catalog_cannot_be_synced(app: App, catalog: JobCatalog) -> None:
    other = JobCatalog("crm")
    other.job("email.send")(send)
    await app.ledger.sync_catalog(other)

    with pytest.raises(QueryError, check=lambda error: error.code == "job_definition.owner_mismatch"):
        await Worker(app.database, catalog, quiet_config()).start()
    with refused("job_definition.empty_job_type_list", "import the modules"):
        await Worker(app.database, JobCatalog("shop"), quiet_config()).start()
