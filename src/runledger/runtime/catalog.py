"""The catalog: job types with their handlers, settings and schedules, declared in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from runledger.core.catalog import CatalogDeclaration, type_not_declared
from runledger.core.errors import InvalidArgumentError, InvalidCronError, PayloadMismatchError
from runledger.core.jobs.enqueue_request import EnqueueRequest
from runledger.core.jobs.records import JobDefinition
from runledger.core.jobs.setting_checks import check_int32, check_whole_seconds
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue, decode_json, encode_json
from runledger.core.schedules.catch_up import CatchUp
from runledger.core.schedules.schedule import Overlap, ScheduleRequest, check_catalog_scope
from runledger.core.workflows.enqueue_request import WorkflowRunEnqueue, WorkflowStepEnqueue
from runledger.core.workflows.status import WorkflowStepExecutionKind
from runledger.core.workflows.workflow import Workflow, WorkflowAppend
from runledger.postgres import Operation, catalogs, jobs
from runledger.postgres.schedules.time_zone import time_zone
from runledger.runtime.registry import JobRegistry, RegisteredJob

_NO_PAYLOAD: dict[str, JsonEncodable] = {}  # None is a payload
_SETTINGS = ("max_attempts", "timeout_seconds", "priority", "is_enabled")
_SETTINGS_REMEDY = "pass for each job type a dict, such as {'report.build': {'priority': 1}}"


class JobCatalog(JobRegistry):
    """Everything about the jobs of one application: handlers, settings, schedules.

    It is a :class:`JobRegistry`, for every place that takes one, and knows besides what the database is to hold. A
    second handler of a type is refused here, and does not take the place of the first::

        catalog = JobCatalog("shop")

        @catalog.job("report.build", max_attempts=3)
        async def build_report(context: JobContext, payload: Report) -> None: ...

        catalog.schedule("nightly-report", "report.build", "30 2 * * *", payload=Report(of="sales"))

        await ledger.sync_catalog(catalog)
        await ledger.enqueue_many([catalog.request("report.build", Report(of="stock"))])

    Args:
        scope: Its name. The catalog owns the types and schedules that it declares, and no other catalog may change
            them; an exact sync disables those that it owns and does not declare any more.
        registries: Registries whose handlers it takes over, such as those of the modules of an application.
        syncs_at_start: Whether a worker that starts with the catalog syncs it, additively and keeping what operators
            have disabled. It needs the rights of the role that migrates; without them say ``False`` and sync when you
            deploy. The worker inserts the definitions that are missing then, as with a registry.

    Raises:
        InvalidArgumentError: The scope is blank, or two registries have a handler for one type.
    """

    def __init__(self, scope: str, *registries: JobRegistry, syncs_at_start: bool = True) -> None:
        super().__init__()
        check_catalog_scope(scope)
        self._scope = scope
        self._syncs_at_start = syncs_at_start
        self._schedules: dict[str, ScheduleRequest] = {}
        self._overrides: dict[str, _Override] = {}
        for registry in registries:
            self.include(registry)

    @property
    def scope(self) -> str:
        """Its name."""
        return self._scope

    @property
    def syncs_at_start(self) -> bool:
        """Whether a worker that starts with it syncs it."""
        return self._syncs_at_start

    def include(self, registry: JobRegistry) -> None:
        """Take over the handlers of a registry, as they are now.

        Raises:
            InvalidArgumentError: It is no registry, or a catalog, or has a handler for a type that there is already.
        """
        if isinstance(registry, JobCatalog):
            raise InvalidArgumentError("registry", "is a catalog", "pass a JobRegistry; a process syncs each catalog")
        super().include(registry)

    def _add(self, registered: RegisteredJob) -> None:
        # Two modules that declare one type do not know of each other, and nobody reads a warning at the import.
        if registered.definition.job_type in self._jobs:
            problem = f"{registered.definition.job_type!r} has a handler in this catalog already"
            raise InvalidArgumentError("job_type", problem, "declare each type once")
        super()._add(registered)

    def schedule(
        self,
        name: str,
        job_type: str,
        cron: str,
        *,
        payload: JsonEncodable = _NO_PAYLOAD,
        timezone: str = "UTC",
        organization_id: UUID | None = None,
        max_jitter: timedelta = timedelta(),
        catch_up: CatchUp = CatchUp.LATEST,
        catch_up_limit: int = 100,
        overlap: Overlap = Overlap.ALLOW,
        is_active: bool = True,
    ) -> None:
        """Declare a schedule of a type that the catalog has, or is going to have.

        Args:
            name: The name of the schedule, unique in the schema.
            job_type: The type of its jobs.
            cron: When it is due: five fields as in Vixie cron, or six or seven: seconds first, an
                optional year last, and Sunday is 1.
            payload: The template of their payloads, see :meth:`~runledger.client.Ledger.upsert_schedule`, as for the
                next six.
            timezone: The IANA name of the zone whose local time the expression means.
            organization_id: The tenant that schedule and jobs belong to.
            max_jitter: How much later than its cron time a fire may be due.
            catch_up: Which due times fire when several have passed.
            catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`.
            overlap: What happens when it is due and its last job has not ended.
            is_active: Whether a new schedule fires.

        Raises:
            InvalidArgumentError: An argument breaks a rule, such as ``job_schedule.invalid_timezone``: this host knows
                no such zone; or the name is taken.
        """
        if name in self._schedules:
            raise InvalidArgumentError("name", f"{name!r} is that of another schedule", "give each one a name")
        try:
            schedule = ScheduleRequest(
                name=name,
                job_type=job_type,
                cron_expr=cron,
                payload_template=payload,
                organization_id=organization_id,
                timezone=timezone,
                max_jitter=max_jitter,
                catch_up=catch_up,
                catch_up_limit=catch_up_limit,
                overlap=overlap,
                is_active=is_active,
            )
        except InvalidCronError as error:
            raise error.of_field(error.field.replace("cron_expr", "cron")) from None
        encode_json(payload, field="payload")
        _check_time_zone(schedule)
        self._schedules[name] = schedule

    def override_definition(
        self,
        job_type: str,
        *,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,
        priority: int | None = None,
        is_enabled: bool | None = None,
    ) -> None:
        """Replace settings that are declared with the handler, as an environment needs it. A later call wins.

        Args:
            job_type: A type that the catalog has, or is going to have.
            max_attempts: Default of its jobs.
            timeout: Default of its jobs, in whole seconds.
            priority: Default of its jobs.
            is_enabled: Whether a new definition takes jobs; one that exists, only with a sync that does not keep what
                is enabled.

        Raises:
            InvalidArgumentError: A value breaks a rule.
        """
        if timeout is not None:
            check_whole_seconds("timeout", timeout)
        if priority is not None:
            check_int32("priority", priority)
        override = _Override(max_attempts=max_attempts, timeout=timeout, priority=priority, is_enabled=is_enabled)
        override.applied_to(JobDefinition(job_type=job_type))  # which knows the rules
        earlier = self._overrides.get(job_type)
        self._overrides[job_type] = override if earlier is None else override.over(earlier)

    def override_definitions(self, settings: Mapping[str, Mapping[str, object]]) -> None:
        """Replace settings by those of a configuration file or variable.

        Args:
            settings: For each job type any of ``max_attempts``, ``timeout_seconds``, ``priority`` and ``is_enabled``,
                as JSON and TOML have them: ``{"report.build": {"timeout_seconds": 60}}``.

        Raises:
            InvalidArgumentError: A setting is unknown, or a value breaks a rule.
        """
        if not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("settings", f"is of type {type(settings).__name__}", _SETTINGS_REMEDY)
        for job_type, of_type in settings.items():
            _check_settings(job_type, of_type)
            try:
                self._override_definition(job_type, of_type)
            except InvalidArgumentError as error:
                raise error.of_field(f"settings[{job_type!r}].{error.field}") from None

    def _override_definition(self, job_type: str, settings: Mapping[str, object]) -> None:
        changes: dict[str, object] = {name: value for name, value in settings.items() if name != "timeout_seconds"}
        seconds = settings.get("timeout_seconds")
        if seconds is not None:
            check_int32("timeout_seconds", seconds, minimum=1)
            changes["timeout"] = timedelta(seconds=seconds)  # pyright: ignore[reportArgumentType] - checked
        self.override_definition(job_type, **changes)  # pyright: ignore[reportArgumentType] - checked there

    def definitions(self) -> list[JobDefinition]:
        """Return the definitions of the declared types, with what was overridden, in the order of the types.

        Raises:
            InvalidArgumentError: ``job_definition.not_declared``: a type is overridden that is not declared.
        """
        for job_type in self._overrides:
            if job_type not in self._jobs:
                raise type_not_declared("override", job_type, self._jobs)
        return [
            self._overrides.get(definition.job_type, _NO_OVERRIDE).applied_to(definition)
            for definition in super().definitions()
        ]

    def declaration(self) -> CatalogDeclaration:
        """Return all that is declared, checked.

        Raises:
            InvalidArgumentError: ``job_definition.empty_job_type_list``: nothing is declared.
                ``job_definition.not_declared``: a schedule or an override is of a type that is not declared.
            PayloadMismatchError: The handler of a schedule's type does not take its payload.
        """
        declaration = CatalogDeclaration(
            scope=self._scope, definitions=tuple(self.definitions()), schedules=tuple(self._schedules.values())
        )
        for schedule in declaration.schedules:
            with_origin = _payload_of_schedule(schedule)
            self._check_payload(schedule.job_type, with_origin, place=f"schedule {schedule.name!r}")
        return declaration

    def request(
        self,
        job_type: str,
        payload: JsonEncodable = None,
        *,
        organization_id: UUID | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | None = None,
        run_at: datetime | None = None,
        run_in: timedelta | None = None,
        stage: str = "queued",
        idempotency_key: str | None = None,
    ) -> EnqueueRequest:
        """Return a request for :meth:`~runledger.client.Ledger.enqueue_many`, checked against the catalog.

        No database is asked: that the type is enabled there is found out when the request is sent.

        Args:
            job_type: A type that the catalog declares.
            payload: The payload, as its handler takes it.
            organization_id: As for :class:`~runledger.core.EnqueueRequest`, and so the others.
            priority: Higher runs first.
            max_attempts: How often the job may be tried.
            timeout: How long one attempt may take.
            run_at: When the job is due.
            run_in: How long from now it is due.
            stage: The stage that the job starts with.
            idempotency_key: Makes the request repeatable.

        Raises:
            InvalidArgumentError: ``job_definition.not_declared``: the text names similar types. Or an argument breaks a
                rule.
            PayloadMismatchError: The payload is not what the annotation of the handler asks for.
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
        self._check(job_type, payload)
        return request

    def check_workflow(
        self, workflow: Workflow | WorkflowRunEnqueue | WorkflowAppend | Iterable[WorkflowStepEnqueue]
    ) -> None:
        """Check the job types and payloads of the steps of a workflow, or of those to append to one.

        No database is asked, as for :meth:`request`. The payload of a step that another step is going to replace is
        checked as it is now.

        Args:
            workflow: The workflow to enqueue, or the steps to append.

        Raises:
            InvalidArgumentError: ``job_definition.not_declared``: a step is of a type that is not declared. Or it is no
                workflow, such as a builder whose ``build()`` was forgotten.
            PayloadMismatchError: The handler of a step does not take its payload.
            WorkflowBuildError: The steps make no workflow.
        """
        for step in _steps_of(workflow):
            if step.execution_kind is WorkflowStepExecutionKind.JOB and step.job_type is not None:
                self._check(step.job_type, step.payload, place=f"step {step.step_key!r}")

    def _check(self, job_type: str, payload: JsonEncodable, *, place: str | None = None) -> None:
        if job_type not in self._jobs:
            raise type_not_declared(place or "job_type", job_type, self._jobs)
        self._check_payload(job_type, decode_json(encode_json(payload, field="payload")), place=place)

    def _check_payload(self, job_type: str, payload: JsonValue, *, place: str | None) -> None:
        decode = self._jobs[job_type].decode_payload
        if decode is None:
            return
        try:
            decode(payload)
        except PayloadMismatchError as error:
            mismatch = error
        else:
            return
        # Outside the except block, as the decoder does it.
        raise mismatch if place is None else PayloadMismatchError(f"{place}, {mismatch.path}", mismatch.problem)


def starting_operation(registry: JobRegistry) -> Operation[object]:
    """Return what a worker does to the definitions when it starts.

    Raises:
        InvalidArgumentError: The catalog is not as it should be, see :meth:`JobCatalog.declaration`.
    """
    if isinstance(registry, JobCatalog) and registry.syncs_at_start:
        return catalogs.sync_catalog(registry.declaration())
    return jobs.insert_missing_job_definitions(registry.definitions())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Override:
    """Settings that take the place of declared ones; ``None`` leaves those."""

    max_attempts: int | None = None
    timeout: timedelta | None = None
    priority: int | None = None
    is_enabled: bool | None = None

    def over(self, earlier: _Override) -> _Override:
        """Return both; this one wins."""
        return _Override(
            max_attempts=earlier.max_attempts if self.max_attempts is None else self.max_attempts,
            timeout=earlier.timeout if self.timeout is None else self.timeout,
            priority=earlier.priority if self.priority is None else self.priority,
            is_enabled=earlier.is_enabled if self.is_enabled is None else self.is_enabled,
        )

    def applied_to(self, definition: JobDefinition) -> JobDefinition:
        """Return the definition with these settings."""
        return replace(
            definition,
            max_attempts=definition.max_attempts if self.max_attempts is None else self.max_attempts,
            default_timeout=definition.default_timeout if self.timeout is None else self.timeout,
            default_priority=definition.default_priority if self.priority is None else self.priority,
            is_enabled=definition.is_enabled if self.is_enabled is None else self.is_enabled,
        )


_NO_OVERRIDE = _Override()


def _check_settings(job_type: str, settings: object) -> None:
    if not isinstance(settings, Mapping):
        problem = f"{job_type!r} has a value of type {type(settings).__name__}"
        raise InvalidArgumentError("settings", problem, _SETTINGS_REMEDY)
    for name in cast("Mapping[object, object]", settings):
        if name not in _SETTINGS:
            problem = f"{job_type!r} has an unknown setting {name!r}"
            raise InvalidArgumentError("settings", problem, f"allowed are {', '.join(_SETTINGS)}")


def _check_time_zone(schedule: ScheduleRequest) -> None:
    """Refuse a zone that a sync would refuse, where it can still be seen which schedule has it."""
    try:
        time_zone(schedule.timezone)
    except InvalidArgumentError as error:
        place = f"timezone of schedule {schedule.name!r}"
        raise InvalidArgumentError(place, error.problem, error.remedy, code=error.code) from None


def _payload_of_schedule(schedule: ScheduleRequest) -> JsonValue:
    """Return a payload as the jobs of a schedule have it."""
    template = decode_json(encode_json(schedule.payload_template, field="payload"))
    members = template if isinstance(template, Mapping) else {"payload": template}
    origin = {"schedule_id": str(UUID(int=0)), "schedule_name": schedule.name, "scheduled_for": "2026-01-01T00:00:00Z"}
    return {**members, "_schedule": origin}


def _steps_of(
    workflow: Workflow | WorkflowRunEnqueue | WorkflowAppend | Iterable[WorkflowStepEnqueue],
) -> Iterable[WorkflowStepEnqueue]:
    if isinstance(workflow, Workflow):
        return workflow.build().steps
    if isinstance(workflow, WorkflowRunEnqueue):
        return workflow.steps
    if isinstance(workflow, WorkflowAppend):
        return workflow.build()
    steps: list[object] = list(workflow) if isinstance(workflow, Iterable) else [workflow]  # pyright: ignore[reportUnnecessaryIsInstance]
    checked = [step for step in steps if isinstance(step, WorkflowStepEnqueue)]
    if len(checked) < len(steps):
        raise InvalidArgumentError(
            "workflow",
            f"is of type {type(workflow).__name__}",
            "pass a Workflow, a WorkflowAppend, or what build() of a builder returns",
        )
    return checked
