"""Append: new steps join a run that is under way, through a step that keeps it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.errors import BlankStepKeyError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.setting_checks import check_idempotency_key
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Admin, Scope
from runledger.core.workflows.canonical_request import canonical_append_request, is_same_append
from runledger.core.workflows.enqueue_request import WorkflowStepEnqueue
from runledger.core.workflows.graph_validation import validate_workflow_append
from runledger.core.workflows.records import WorkflowAppendOutcome, WorkflowAppendResult, WorkflowRunRecord
from runledger.core.workflows.run_outcome import StepCounts
from runledger.core.workflows.status import WorkflowStepExecutionKind, WorkflowStepStatus
from runledger.core.workflows.step_release import start_steps
from runledger.postgres.document import check_now, encode_document, lease_document
from runledger.postgres.locks import check_lock_timeout
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, lease_owner_mismatch, refusal
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.named_steps import NamedStep, read_named_steps
from runledger.postgres.workflows.reads import read_run, read_steps
from runledger.postgres.workflows.refusals import run_not_found, window_not_found
from runledger.postgres.workflows.run_lock import LOCK_TIMEOUT, LockedRun, lock_job_of_run, lock_run
from runledger.postgres.workflows.step_rows import insert_steps

_FIND_MUTATION = SqlFile("workflows", "find_workflow_run_mutation")
_RECORD = SqlFile("workflows", "record_workflow_append")
_CHECK_LEASE = SqlFile("workflows", "check_append_lease")

_ISOLATION = "workflow.append_unsupported_isolation"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowAppendRequest:
    """Steps to append to a run.

    Attributes:
        mutation_key: Makes the append repeatable within its run: the same key with the same steps appends nothing
            again. At most 1,024 bytes in UTF-8.
        window_step_key: The step that keeps the run open: a gate that is waiting, or the step whose job the caller
            holds.
        steps: The new steps. They may wait for each other and for steps of the run.
        metadata: Any JSON value about the append; not compared.
    """

    mutation_key: str = field(repr=False)
    window_step_key: str
    steps: Sequence[WorkflowStepEnqueue]
    metadata: JsonEncodable = field(default_factory=dict[str, JsonEncodable], repr=False)


@operation("workflows.append_workflow_steps")
def append_workflow_steps(
    run_id: UUID,
    request: WorkflowAppendRequest,
    *,
    scope: Scope,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[WorkflowAppendResult]:
    """Append steps to a run, through a gate of it that is waiting, and return them. Those that can begin are released.

    A repeated call with the same mutation key and the same steps returns the steps as they are now and changes nothing,
    also after the gate was completed or the run has ended.

    Args:
        run_id: The run.
        request: The steps to append, and their window.
        scope: Whose runs may be changed.
        notices: How workers are told of released steps; nobody is when not given.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        WorkflowBuildError: The steps are none that can be appended, see
            :func:`~runledger.core.validate_workflow_append`.
        InvalidArgumentError: ``workflow.append_mutation_key_blank``, or another argument breaks a rule.
        QueryError: Nothing was written: ``workflow.run_not_found``, ``workflow.append_conflicting_retry`` (the key was
            used for other steps), ``workflow.append_window_missing``, ``workflow.append_window_not_external``,
            ``workflow.append_window_not_open``, ``workflow.append_terminal_run``,
            ``workflow.definition_not_found_or_disabled``, ``workflow.append_unsupported_isolation``, or
            ``workflow.release_conflict``: another transaction kept the run locked for five seconds.
    """
    _check(request, now)
    append = _Append(run_id, request, notices, now)
    run = yield from append.lock(scope)
    applied = yield from append.find_applied(run)
    if applied is not None:
        return applied
    existing = yield from append.read_existing()
    _check_gate(existing.get(request.window_step_key), request.window_step_key)
    return (yield from append.apply(run, existing))


@operation("workflows.append_workflow_steps_of_job")
def append_workflow_steps_of_job(
    run_id: UUID,
    request: WorkflowAppendRequest,
    lease: LeaseIdentity,
    *,
    lock_timeout: timedelta = LOCK_TIMEOUT,
    notices: Notices | None = None,
    now: datetime | None = None,
) -> Steps[WorkflowAppendResult]:
    """Append steps to a run, through the step whose job the caller holds; otherwise as :func:`append_workflow_steps`.

    The lease is judged under the lock of the job, and the step stays RUNNING until this transaction has ended.

    Args:
        run_id: The run of the job.
        request: What to append; ``window_step_key`` is the step of the job.
        lease: The lease of the job.
        lock_timeout: How long to wait for the locks of the run and of the job, each, at most.
        notices: How workers are told of released steps; nobody is when not given.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        WorkflowBuildError: As by :func:`append_workflow_steps`.
        InvalidArgumentError: As by :func:`append_workflow_steps`.
        QueryError: As by :func:`append_workflow_steps`, or ``job.lease_owner_mismatch``: the lease is not, or not any
            more, that of the step's job.
    """
    _check(request, now)
    check_lock_timeout("lock_timeout", lock_timeout)
    append = _Append(run_id, request, notices, now)
    run = yield from append.lock(Admin(), lock_timeout)
    yield from lock_job_of_run(lease.job_id, lock_timeout=lock_timeout)
    rows = yield Statement(sql=_CHECK_LEASE, document=lease_document(lease.worker_id, [lease], now=now))
    if not rows:
        raise lease_owner_mismatch("workflows.append_workflow_steps_of_job")
    applied = yield from append.find_applied(run)
    if applied is not None:
        return applied
    existing = yield from append.read_existing()
    window = existing.get(request.window_step_key)
    if window is None or window.job_id != lease.job_id:
        raise _refusal("workflow.append_window_missing", "the step that keeps the run open is not that of the job")
    return (yield from append.apply(run, existing))


@dataclass(frozen=True, slots=True)
class _Append:
    """One append on its way."""

    run_id: UUID
    request: WorkflowAppendRequest
    notices: Notices | None
    now: datetime | None

    def lock(self, scope: Scope, lock_timeout: timedelta = LOCK_TIMEOUT) -> Steps[LockedRun]:
        run = yield from lock_run(self.run_id, scope=scope, isolation_code=_ISOLATION, lock_timeout=lock_timeout)
        if run is None:
            raise run_not_found("workflows.append_workflow_steps", scope)
        return run

    def find_applied(self, run: LockedRun) -> Steps[WorkflowAppendResult | None]:
        """Return the result of an earlier identical append, or ``None``."""
        request = self.request
        document = encode_document(run_id=self.run_id, mutation_key=request.mutation_key)
        rows = yield Statement(sql=_FIND_MUTATION, document=document)
        if not rows:
            return None
        if not is_same_append(rows[0]["request_json"], self._canonical(run), organization_id=run.organization_id):
            raise refusal(
                QueryErrorCategory.CONFLICT,
                "workflow.append_conflicting_retry",
                "other steps were appended to this run with the same mutation key; "
                "another append needs a `mutation_key=` of its own",
                internal=f"workflows.append_workflow_steps: run {self.run_id}, mutation key {request.mutation_key!r}",
            )
        return (yield from self._result(WorkflowAppendOutcome.ALREADY_APPLIED))

    def read_existing(self) -> Steps[dict[str, NamedStep]]:
        """Return those steps of the run that the request names in whatever way."""
        request = self.request
        names = {request.window_step_key}
        for step in request.steps:
            names.add(step.step_key)
            names.update(dependency.prerequisite_step_key for dependency in step.dependencies)
        return (yield from read_named_steps(self.run_id, names))

    def apply(self, run: LockedRun, existing: Mapping[str, NamedStep]) -> Steps[WorkflowAppendResult]:
        """Insert the steps and note the append."""
        if run.status.is_terminal:
            raise _refusal("workflow.append_terminal_run", "the workflow run has ended")
        steps = self.request.steps
        validate_workflow_append(existing, steps)
        starts = start_steps(steps, {key: step.status for key, step in existing.items()})
        yield from insert_steps(
            self.run_id,
            steps,
            starts,
            existing={key: step.step_id for key, step in existing.items()},
            organization_id=run.organization_id,
            notices=self.notices,
            now=self.now,
        )
        counts = StepCounts.of(start.status for start in starts)
        head = encode_document(
            run_id=self.run_id,
            mutation_key=self.request.mutation_key,
            total=counts.total,
            active=counts.active,
            waiting=counts.waiting,
            unsuccessful=counts.unsuccessful,
            now=self.now,
        )
        metadata = encode_json(self.request.metadata, field="metadata")
        document = f'{head[:-1]},"metadata":{metadata},"request":{self._canonical(run)}}}'
        yield Statement(sql=_RECORD, document=document)
        return (yield from self._result(WorkflowAppendOutcome.APPENDED))

    def _canonical(self, run: LockedRun) -> str:
        request = self.request
        return canonical_append_request(request.window_step_key, request.steps, organization_id=run.organization_id)

    def _result(self, outcome: WorkflowAppendOutcome) -> Steps[WorkflowAppendResult]:
        run: WorkflowRunRecord | None = yield from read_run(self.run_id, scope=Admin())
        assert run is not None  # noqa: S101 (its row is locked by this transaction)
        keys = [step.step_key for step in self.request.steps]
        steps = yield from read_steps(self.run_id, keys, scope=Admin())
        return WorkflowAppendResult(outcome=outcome, run=run, steps=tuple(steps[key] for key in keys))


def _check(request: WorkflowAppendRequest, now: datetime | None) -> None:
    key = request.mutation_key
    if isinstance(key, str) and not key.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            "mutation_key",
            "is blank",
            "name the append, for example 'packages', so that it can be repeated",
            code="workflow.append_mutation_key_blank",
        )
    check_idempotency_key(key, field="mutation_key")
    check_identifier(request.window_step_key, field="window_step_key", blank_error=BlankStepKeyError)
    # The steps by themselves, before anything is locked; together with those of the run they are checked again.
    validate_workflow_append(None, request.steps)
    check_now(now)


def _check_gate(window: NamedStep | None, step_key: str) -> None:
    if window is None:
        raise window_not_found("workflows.append_workflow_steps", step_key)
    if window.execution_kind is not WorkflowStepExecutionKind.EXTERNAL:
        raise _refusal(
            "workflow.append_window_not_external",
            "steps are appended through a gate, and this step is a job; its handler appends with context.append_steps",
        )
    if window.status is not WorkflowStepStatus.WAITING_FOR_EXTERNAL:
        raise _refusal("workflow.append_window_not_open", "the gate to append through is not waiting")


def _refusal(code: str, client_message: str) -> QueryError:
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        client_message,
        internal=f"workflows.append_workflow_steps: {code}",
    )
