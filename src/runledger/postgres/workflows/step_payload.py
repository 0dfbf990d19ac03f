"""What callers may do to the steps of a run besides ending them: keep them still, and change a payload in time."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from runledger.core.errors import BlankStepKeyError
from runledger.core.identifiers import check_identifier
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Admin, Scope
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.named_steps import read_named_steps
from runledger.postgres.workflows.reads import read_steps
from runledger.postgres.workflows.refusals import run_not_found
from runledger.postgres.workflows.run_lock import lock_job_of_run, lock_run

_UPDATE = SqlFile("workflows", "update_workflow_step_payload")

_ISOLATION = "workflow.append_unsupported_isolation"


@operation("workflows.list_workflow_step_keys_for_update")
def list_workflow_step_keys_for_update(run_id: UUID, *, scope: Scope) -> Steps[list[str]]:
    """Lock a run and return the keys of its steps: until the transaction ends, no step ends and none is appended.

    For a caller's transaction that prepares an append; on a pool the lock is gone when the call returns. Keep such a
    transaction short: outcomes of the run's jobs wait for it.

    Raises:
        QueryError: ``workflow.run_not_found``, ``workflow.release_conflict`` or, above READ COMMITTED,
            ``workflow.append_unsupported_isolation``.
    """
    run = yield from lock_run(run_id, scope=scope, isolation_code=_ISOLATION)
    if run is None:
        raise run_not_found("workflows.list_workflow_step_keys_for_update", scope)
    return list((yield from read_steps(run_id, scope=Admin())))


@operation("workflows.update_workflow_step_and_pending_job_payload")
def update_workflow_step_and_pending_job_payload(
    run_id: UUID, step_key: str, payload: JsonEncodable, *, scope: Scope, now: datetime | None = None
) -> Steps[bool]:
    """Replace the payload of a step that no worker carries out, and that of its job; tell if it was in time.

    Args:
        run_id: The run.
        step_key: The step.
        payload: Any JSON value, or an instance of what the handler's annotation names.
        scope: Whose runs may be changed.
        now: Instant to use instead of the database's clock, for tests.

    Returns:
        False if there is no such step in the scope, or its job is held by a worker, or it has ended; nothing is changed
        then. A job that waits for another attempt gets the new payload.

    Raises:
        QueryError: ``workflow.release_conflict``, or ``workflow.append_unsupported_isolation`` above READ COMMITTED.
    """
    check_identifier(step_key, field="step_key", blank_error=BlankStepKeyError)
    check_now(now)
    payload_json = encode_json(payload, field="payload")
    run = yield from lock_run(run_id, scope=scope, isolation_code=_ISOLATION)
    if run is None:
        return False
    step = (yield from read_named_steps(run_id, [step_key])).get(step_key)
    if step is None:
        return False
    if step.job_id is not None:
        yield from lock_job_of_run(step.job_id)
    head = encode_document(run_id=run_id, step_key=step_key, now=now)
    rows = yield Statement(sql=_UPDATE, document=f'{head[:-1]},"payload":{payload_json}}}')
    return bool(rows)
