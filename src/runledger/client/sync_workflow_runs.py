# Written by `make sync-ledger` from workflow_runs.py; do not edit.
"""The part of the ledger about workflows, for blocking applications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from runledger.client.run_watch import SyncRunWatch
from runledger.client.sync_ledger_part import SyncLedgerPart
from runledger.client.sync_workflow_run_handle import SyncWorkflowRunHandle
from runledger.core.errors import BlankStepKeyError
from runledger.core.identifiers import check_identifier
from runledger.core.json_form import JsonEncodable
from runledger.core.scope import Global, Organization, Scope
from runledger.core.workflows.enqueue_request import WorkflowRunEnqueue, WorkflowStepEnqueue
from runledger.core.workflows.records import (
    CompletedGate,
    EnqueuedStep,
    WorkflowAppendResult,
    WorkflowRunRecord,
    WorkflowStepDependency,
    WorkflowStepRecord,
)
from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepStatus
from runledger.core.workflows.workflow import Workflow, WorkflowAppend
from runledger.postgres import workflows
from runledger.postgres.drivers.psycopg import Connection

_GLOBAL = Global()


class SyncWorkflowRuns(SyncLedgerPart):
    """Enqueue workflows, complete their gates, append to them, cancel them, and read what becomes of them."""

    _run_watch: SyncRunWatch

    def enqueue_workflow(
        self, workflow: Workflow | WorkflowRunEnqueue, *, connection: Connection[Any] | None = None
    ) -> SyncWorkflowRunHandle:
        """Enqueue a run: all its steps, and the jobs of those that wait for nothing, in one transaction.

        With an idempotency key that is known the answer is the run that has it, whatever became of it.

        Args:
            workflow: What to run: a :class:`~runledger.core.Workflow`, or what a builder has built.
            connection: The caller's open transaction.

        Returns:
            A handle of the run, in the scope of its organization.

        Raises:
            WorkflowBuildError: It is no workflow; the database was not asked.
            QueryError: Nothing was written: ``workflow.definition_not_found_or_disabled``; with a key
                ``workflow.enqueue_conflicting_retry``, ``workflow.legacy_idempotency_snapshot_missing`` or, in a
                transaction above READ COMMITTED, ``workflow.enqueue_idempotency_unsupported_isolation``.
            DatabaseConnectionError: ``db.transaction_commit_unconfirmed``: the connection was lost, and whether the run
                is there is not known. With any other code it is not.
        """
        request = workflow.build() if isinstance(workflow, Workflow) else workflow
        notices = self._notices(connection)
        run = self._run(workflows.enqueue_workflow_run(request, notices=notices), connection, notices)
        scope = Global() if run.organization_id is None else Organization(run.organization_id)
        return SyncWorkflowRunHandle(self, self._run_watch, run.id, scope)

    def workflow_run(self, run_id: UUID, *, scope: Scope = _GLOBAL) -> SyncWorkflowRunHandle:
        """Return a handle of a run that was enqueued before. Whether there is one is asked when the handle is used.

        Args:
            run_id: The run.
            scope: Whose runs may be seen.
        """
        return SyncWorkflowRunHandle(self, self._run_watch, run_id, scope)

    def get_workflow_run(
        self, run_id: UUID, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> WorkflowRunRecord | None:
        """Return a run, or ``None`` when there is none in the scope."""
        return self._run(workflows.get_workflow_run_by_id(run_id, scope=scope), connection)

    def get_workflow_run_by_idempotency_key(
        self,
        workflow_type: str,
        idempotency_key: str,
        *,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> WorkflowRunRecord | None:
        """Return the run that was enqueued with a key, or ``None``.

        Args:
            workflow_type: The type it was enqueued with.
            idempotency_key: The key.
            scope: Whose key it is: ``Global()`` or ``Organization(id)``; each has keys of its own.
            connection: The caller's open transaction.
        """
        operation = workflows.get_workflow_run_by_type_and_idempotency_key(workflow_type, idempotency_key, scope=scope)
        return self._run(operation, connection)

    def get_latest_workflow_run(
        self, workflow_type: str, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> WorkflowRunRecord | None:
        """Return the newest run of a type, or ``None``."""
        return self._run(workflows.get_latest_workflow_run_by_type(workflow_type, scope=scope), connection)

    def get_workflow_run_id_for_job(
        self, job_id: UUID, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> UUID | None:
        """Return the run whose step a job carries out, or ``None``."""
        return self._run(workflows.get_workflow_run_id_for_job(job_id, scope=scope), connection)

    def list_workflow_runs(
        self,
        *,
        scope: Scope = _GLOBAL,
        status: WorkflowRunStatus | None = None,
        workflow_type_contains: str | None = None,
        has_waiting_gate: bool = False,
        limit: int = 100,
        before_run_id: UUID | None = None,
        connection: Connection[Any] | None = None,
    ) -> list[WorkflowRunRecord]:
        """Return runs, newest first.

        Args:
            scope: Whose runs may be seen.
            status: Only runs with this status.
            workflow_type_contains: Only types with this text in them, whatever the case.
            has_waiting_gate: Only runs in which a gate waits for the application. Most of them are RUNNING: a run is
                WAITING_FOR_EXTERNAL when nothing but gates is left of it.
            limit: The most runs to return.
            before_run_id: Only runs older than this one; the id of the last run seen turns the page.
            connection: The caller's open transaction.
        """
        operation = workflows.list_workflow_runs(
            scope=scope,
            status=status,
            workflow_type_contains=workflow_type_contains,
            has_waiting_gate=has_waiting_gate,
            limit=limit,
            before_run_id=before_run_id,
        )
        return self._run(operation, connection)

    def list_workflow_steps(
        self,
        run_id: UUID,
        *,
        scope: Scope = _GLOBAL,
        status: WorkflowStepStatus | None = None,
        limit: int | None = None,
        after_step_id: UUID | None = None,
        connection: Connection[Any] | None = None,
    ) -> list[WorkflowStepRecord]:
        """Return the steps of a run in the order in which they were made.

        Args:
            run_id: The run; one outside the scope has no steps.
            scope: Whose runs may be seen.
            status: Only steps with this status.
            limit: Steps at most; all when not given.
            after_step_id: Only steps after this one; the id of the last step seen turns the page.
            connection: The caller's open transaction.
        """
        operation = workflows.list_workflow_steps(
            run_id, scope=scope, status=status, limit=limit, after_step_id=after_step_id
        )
        return self._run(operation, connection)

    def list_enqueued_workflow_steps(
        self, run_id: UUID, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> list[EnqueuedStep]:
        """Return what the ENQUEUED steps of a run wait for: when they are due, and whether anybody may take them.

        Args:
            run_id: The run; one outside the scope has no steps.
            scope: Whose runs may be seen.
            connection: The caller's open transaction.
        """
        return self._run(workflows.list_enqueued_workflow_steps(run_id, scope=scope), connection)

    def list_workflow_step_dependencies(
        self, run_id: UUID, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> list[WorkflowStepDependency]:
        """Return what waits for what in a run; a run outside the scope has nothing."""
        return self._run(workflows.list_workflow_step_dependencies(run_id, scope=scope), connection)

    def complete_gate(
        self,
        run_id: UUID,
        step_key: str,
        *,
        status: WorkflowStepStatus = WorkflowStepStatus.SUCCEEDED,
        output: JsonEncodable = None,
        reason: str | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> CompletedGate:
        """Complete a gate that is waiting, and return it. What waited for it is released or canceled with it.

        Completing it again with the same status gives the gate as it is and changes nothing: then
        ``was_completed_already`` is true, and the output is that of the first time. On the caller's connection the run
        is locked until the transaction ends: keep it short, outcomes of the run's jobs wait for it.

        Args:
            run_id: The run.
            step_key: The gate.
            status: How it ended: SUCCEEDED, FAILED or CANCELED.
            output: Any JSON value, for those that come after.
            reason: The reason, for people.
            error_code: What went wrong, as a short stable text.
            error_message: The text that goes with it.
            scope: Whose runs may be changed.
            connection: The caller's open transaction.

        Raises:
            QueryError: Nothing was written: ``workflow.external_step_invalid_terminal_status``,
                ``workflow.external_step_not_found``, ``workflow.external_step_not_external``,
                ``workflow.external_step_not_waiting`` (its own prerequisites have not ended),
                ``workflow.external_step_conflicting_completion_retry`` (it ended with another status),
                ``workflow.external_completion_unsupported_isolation``, or ``workflow.release_conflict``: another
                transaction kept the run locked for five seconds; try again.
        """
        notices = self._notices(connection)
        operation = workflows.complete_external_workflow_step(
            run_id,
            step_key,
            scope=scope,
            status=status,
            output=output,
            reason=reason,
            error_code=error_code,
            error_message=error_message,
            notices=notices,
        )
        return self._run(operation, connection, notices)

    def append_workflow_steps(
        self,
        run_id: UUID,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        *,
        window: str,
        mutation_key: str,
        metadata: JsonEncodable = None,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> WorkflowAppendResult:
        """Append steps to a run, through a gate of it that is waiting, and return them. Those that can begin do.

        A repeated call with the same mutation key and the same steps returns the steps as they are now and changes
        nothing, also after the gate was completed or the run has ended. A handler appends with
        ``context.append_steps``.

        Args:
            run_id: The run.
            steps: The new steps. They may wait for each other and for steps of the run.
            window: The key of the gate.
            mutation_key: Names the append within the run, so that it can be repeated.
            metadata: Any JSON value about the append; not compared.
            scope: Whose runs may be changed.
            connection: The caller's open transaction.

        Raises:
            WorkflowBuildError: The steps are none that can be appended.
            InvalidArgumentError: ``workflow.append_mutation_key_blank``, or another argument breaks a rule.
            QueryError: Nothing was written: ``workflow.run_not_found``, ``workflow.append_conflicting_retry`` (the key
                was used for other steps), ``workflow.append_window_missing``, ``workflow.append_window_not_external``,
                ``workflow.append_window_not_open``, ``workflow.append_terminal_run``,
                ``workflow.definition_not_found_or_disabled``, ``workflow.append_unsupported_isolation``, or
                ``workflow.release_conflict``: another transaction kept the run locked for five seconds; try again.
        """
        check_identifier(window, field="window", blank_error=BlankStepKeyError)
        request = workflows.WorkflowAppendRequest(
            mutation_key=mutation_key,
            window_step_key=window,
            steps=steps.build() if isinstance(steps, WorkflowAppend) else steps,
            metadata={} if metadata is None else metadata,
        )
        notices = self._notices(connection)
        operation = workflows.append_workflow_steps(run_id, request, scope=scope, notices=notices)
        return self._run(operation, connection, notices)

    def list_workflow_step_keys_for_update(
        self, run_id: UUID, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> list[str]:
        """Lock a run and return the keys of its steps, to prepare an append in the same transaction.

        Until the transaction of ``connection`` ends, no step of the run ends and none is appended by others. Without
        one the lock is gone when the call returns.

        Raises:
            QueryError: ``workflow.run_not_found``, ``workflow.release_conflict`` or, above READ COMMITTED,
                ``workflow.append_unsupported_isolation``.
        """
        return self._run(workflows.list_workflow_step_keys_for_update(run_id, scope=scope), connection)

    def update_workflow_step_payload(
        self,
        run_id: UUID,
        step_key: str,
        payload: JsonEncodable,
        *,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> bool:
        """Replace the payload of a step that no worker carries out, and that of its job; tell if it was in time.

        Args:
            run_id: The run.
            step_key: The step.
            payload: Any JSON value, or an instance of what the handler's annotation names.
            scope: Whose runs may be changed.
            connection: The caller's open transaction.

        Returns:
            ``False`` if there is no such step in the scope, or its job is held by a worker, or it has ended; nothing is
            changed then. A job that waits for another attempt gets the new payload.

        Raises:
            QueryError: ``workflow.release_conflict``: another transaction kept the run locked for five seconds;
                ``workflow.append_unsupported_isolation`` above READ COMMITTED.
        """
        operation = workflows.update_workflow_step_and_pending_job_payload(run_id, step_key, payload, scope=scope)
        return self._run(operation, connection)

    def cancel_workflow_run(
        self,
        run_id: UUID,
        *,
        reason: str | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> WorkflowRunRecord:
        """Cancel a run and return it; a run that has ended is returned as it is.

        Every step that has not ended is CANCELED, with its job; nothing is released. Handlers that run hear of it as of
        any cancel, and whatever they write is refused.

        Args:
            run_id: The run.
            reason: Kept as the status reason of steps and jobs; ``CANCELED`` when not given.
            error_code: Kept as the error code of the steps.
            error_message: The text that goes with it.
            scope: Whose runs may be canceled.
            connection: The caller's open transaction.

        Raises:
            QueryError: Nothing was written: ``workflow.run_not_found``; ``workflow.release_conflict``: another
                transaction kept the run or a job of it locked for longer than the ``lock_timeout`` of this one lets it
                wait; ``workflow.cancel_unsupported_isolation`` above READ COMMITTED; ``workflow.internal_state``.
        """
        notices = self._notices(connection)
        operation = workflows.cancel_workflow_run(
            run_id,
            scope=scope,
            reason=reason,
            error_code=error_code,
            error_message=error_message,
            notices=notices,
        )
        return self._run(operation, connection, notices)
