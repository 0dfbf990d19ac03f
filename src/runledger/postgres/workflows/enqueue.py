"""Enqueue a run: its row, its steps and edges, and the jobs of the steps that wait for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.json_value import decode_json, encode_json
from runledger.core.scope import Admin
from runledger.core.workflows.canonical_request import canonical_run_request
from runledger.core.workflows.enqueue_request import WorkflowRunEnqueue
from runledger.core.workflows.graph_validation import validate_workflow_run_enqueue
from runledger.core.workflows.records import WorkflowRunRecord
from runledger.core.workflows.run_outcome import StepCounts, run_status_of
from runledger.core.workflows.step_release import StepStart, start_steps
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.locks import set_lock_timeout
from runledger.postgres.notices import Notices
from runledger.postgres.operation import Operation, Statement, Steps, operation
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, commit_unconfirmed, refusal
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7
from runledger.postgres.workflows.reads import read_run
from runledger.postgres.workflows.step_rows import insert_steps

_INSERT_KEYED_RUN = SqlFile("workflows", "insert_keyed_workflow_run")

_NAME = "workflows.enqueue_workflow_run"

# What the second insert of a run meets first is for PostgreSQL to choose: the run itself, or one of its steps, which
# have other ids by then and the same keys.
_PROOFS = {"workflow_runs_pkey", "uq_workflow_steps_run_step_key"}

# The first look waits for a twin, the second sees it. More are needed only when runs are deleted in between.
_MAX_LOOKS = 4

# A server that did not notice the loss keeps the lost transaction open, and its rows make the recovery wait.
_RECOVERY_LOCK_TIMEOUT = timedelta(seconds=5)


@operation("workflows.enqueue_workflow_run")
def enqueue_workflow_run(
    request: WorkflowRunEnqueue, *, notices: Notices | None = None, now: datetime | None = None
) -> Steps[WorkflowRunRecord]:
    """Enqueue a run and return it; where the request has a key that is known, the run that has it, as it is now.

    The whole run is one transaction: all of its steps and edges, and the jobs of those steps that wait for nothing.
    Nobody else can know the run before it commits, so no lock is waited for but that of a twin with the same key.

    Args:
        request: What to run; it is validated again, whoever built it.
        notices: How workers are told of released steps; nobody is when not given.
        now: Instant to use instead of the transaction's, for tests.

    Raises:
        WorkflowBuildError: It is no workflow, see :func:`~runledger.core.validate_workflow_run_enqueue`. The database
            was not asked.
        QueryError: Nothing was written: ``workflow.definition_not_found_or_disabled``; with a key
            ``workflow.enqueue_conflicting_retry``, ``workflow.legacy_idempotency_snapshot_missing`` or, in a
            transaction above READ COMMITTED, ``workflow.enqueue_idempotency_unsupported_isolation``.
        DatabaseConnectionError: The connection was lost. On a pool nothing is enqueued, unless the code is
            ``db.transaction_commit_unconfirmed``: then that is not known.
    """
    check_now(now)
    validate_workflow_run_enqueue(request)
    enqueue = _Enqueue(uuid7(), request, start_steps(request.steps, {}), notices, now)
    if request.idempotency_key is None:
        created_at = yield from enqueue.insert_unkeyed(recovery=enqueue.recovery())
        return enqueue.made(created_at)
    run_id = yield from enqueue.insert_keyed()
    return (yield from _existing(run_id, recovery=enqueue.recovery()))


@dataclass(frozen=True, slots=True)
class _Enqueue:
    """One request on its way, with the id that its run gets if it is new."""

    run_id: UUID
    request: WorkflowRunEnqueue
    starts: list[StepStart]
    notices: Notices | None
    now: datetime | None

    def insert_unkeyed(self, *, recovery: Operation[object] | None = None, is_guarded: bool = False) -> Steps[datetime]:
        return (
            yield from insert_steps(
                self.run_id,
                self.request.steps,
                self.starts,
                existing={},
                organization_id=self.request.organization_id,
                run_document=self._run_document(),
                recovery=recovery,
                notices=self.notices,
                now=self.now,
                is_only=not is_guarded,
                is_guarded=is_guarded,
            )
        )

    def insert_keyed(self) -> Steps[UUID]:
        """Insert the run unless its key is known, and return the run that has the key then."""
        request = self.request
        head = self._run_document()[:-1]
        rest = encode_document(run_id=self.run_id, idempotency_key=request.idempotency_key, now=self.now)[1:-1]
        document = f'{head},{rest},"enqueue_request":{canonical_run_request(request)}}}'
        for _ in range(_MAX_LOOKS):
            rows = yield Statement(sql=_INSERT_KEYED_RUN, document=document)
            match rows[0]["answer"]:
                case "CREATED":
                    yield from insert_steps(
                        self.run_id,
                        request.steps,
                        self.starts,
                        existing={},
                        organization_id=request.organization_id,
                        notices=self.notices,
                        now=self.now,
                    )
                    return self.run_id
                case "SAME":
                    return rows[0]["existing_run_id"]
                case "UNSEEN":
                    continue
                case refused:
                    raise _refusal(refused, rows[0]["existing_run_id"], request.workflow_type)
        raise _key_taken_by_nobody()

    def recovery(self) -> Operation[WorkflowRunRecord]:
        """Return what settles a commit that was not confirmed: do the same again, with the same id.

        If the first was committed, it meets its own run or finds its own key; if not, it takes place now. Should
        the first still be on its way, this one waits for its end.
        """

        def steps() -> Steps[WorkflowRunRecord]:
            refused: QueryError
            try:
                yield from set_lock_timeout(_RECOVERY_LOCK_TIMEOUT)
                if self.request.idempotency_key is None:
                    return self.made((yield from self.insert_unkeyed(is_guarded=True)))
                return (yield from _existing((yield from self.insert_keyed())))
            except QueryError as error:
                refused = error
            if refused.constraint in _PROOFS:
                return (yield from _existing(self.run_id))
            if refused.sqlstate is None and refused.category is QueryErrorCategory.CONFLICT:
                raise refused
            # A definition that is missing now, or a lock that was not to be had, tells nothing about the first time.
            raise commit_unconfirmed(_NAME, source=refused)

        return Operation(name=_NAME, begin=steps)

    def made(self, created_at: datetime) -> WorkflowRunRecord:
        """Return the run that was inserted, which need not be read again."""
        counts = StepCounts.of(start.status for start in self.starts)
        return WorkflowRunRecord(
            id=self.run_id,
            workflow_type=self.request.workflow_type,
            organization_id=self.request.organization_id,
            status=run_status_of(counts),
            idempotency_key=None,
            metadata=decode_json(encode_json(self.request.metadata, field="metadata")),
            result_step_key=self.request.result_step_key,
            result=None,
            has_result=False,
            step_counts=counts,
            started_at=created_at,
            finished_at=None,
            created_at=created_at,
            updated_at=created_at,
        )

    def _run_document(self) -> str:
        request = self.request
        counts = StepCounts.of(start.status for start in self.starts)
        head = encode_document(
            workflow_type=request.workflow_type,
            organization_id=request.organization_id,
            status=run_status_of(counts).value,
            result_step_key=request.result_step_key,
            total=counts.total,
            active=counts.active,
            waiting=counts.waiting,
        )
        return f'{head[:-1]},"metadata":{encode_json(request.metadata, field="metadata")}}}'


def _existing(run_id: UUID, *, recovery: Operation[object] | None = None) -> Steps[WorkflowRunRecord]:
    run = yield from read_run(run_id, scope=Admin(), recovery=recovery)
    assert run is not None  # noqa: S101 (inserted or found by this transaction)
    return run


def _refusal(answer: str, existing_run_id: UUID | None, workflow_type: str) -> QueryError:
    """Return why a keyed request made no run. Neither key nor content is named, not even in the internal message."""
    match answer:
        case "OTHER":
            return refusal(
                QueryErrorCategory.CONFLICT,
                "workflow.enqueue_conflicting_retry",
                "a workflow with this idempotency key was enqueued by a different request",
                internal=f"workflows.enqueue: run {existing_run_id} of type {workflow_type} was another request",
            )
        case "NO_SNAPSHOT":
            return refusal(
                QueryErrorCategory.CONFLICT,
                "workflow.legacy_idempotency_snapshot_missing",
                "a workflow with this idempotency key exists, but was stored without the request that made it",
                internal=f"workflows.enqueue: run {existing_run_id} of type {workflow_type} has no snapshot",
            )
        case _:
            return refusal(
                QueryErrorCategory.VALIDATION,
                "workflow.enqueue_idempotency_unsupported_isolation",
                "enqueueing a workflow with an idempotency key needs a transaction at READ COMMITTED",
                internal=f"workflows.enqueue: unsupported isolation for a keyed request of type {workflow_type}",
            )


def _key_taken_by_nobody() -> QueryError:
    return refusal(
        QueryErrorCategory.INTERNAL,
        "workflow.internal_state",
        "the idempotency key conflicts with a workflow that cannot be found",
        internal="workflows.enqueue: the unique index refuses a key that no visible row has",
    )
