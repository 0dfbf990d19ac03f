"""``runledger cancel`` and ``runledger requeue``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from uuid import UUID

from runledger.cli.failures import DONE, FAILED
from runledger.cli.job_document import job_document
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place, open_place
from runledger.cli.times import describe_duration
from runledger.client import SyncLedger
from runledger.core import (
    Admin,
    CancellationNotQuiesced,
    ExpectationMismatch,
    JobRecord,
    Requeued,
)
from runledger.core.printable import printable
from runledger.postgres import QueryError
from runledger.postgres.workflows.run_lock import RELEASE_CONFLICT

_RULES = {
    "job.not_found": "there is no such job; check the id, --schema and the database",
    "job.workflow_requeue_not_supported": "it belongs to a workflow and cannot be requeued by itself",
}

_OPTION_OF = {"job_id": "ID", "reason": "--reason"}


class _RefusedError(Exception):
    """One job was left as it is; the others go on. The text says why and what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def run_cancel(arguments: argparse.Namespace) -> int:
    """Cancel each of the jobs, in a transaction of its own."""

    def cancel(ledger: SyncLedger, job_id: UUID) -> JobRecord:
        return ledger.cancel_job(job_id, scope=Admin(), reason=arguments.reason)

    return _run(arguments, "canceled", cancel)


def run_requeue(arguments: argparse.Namespace) -> int:
    """Requeue each of the jobs, in a transaction of its own."""

    def requeue(ledger: SyncLedger, job_id: UUID) -> JobRecord:
        if arguments.at_once:
            return ledger.requeue_job(job_id, scope=Admin(), reason=arguments.reason)
        return _compare_and_requeue(ledger, job_id, arguments)

    return _run(arguments, "requeued", requeue)


def _compare_and_requeue(ledger: SyncLedger, job_id: UUID, arguments: argparse.Namespace) -> JobRecord:
    job = ledger.get_job(job_id, scope=Admin())
    if job is None:
        raise _RefusedError("job.not_found", _RULES["job.not_found"])
    if not job.status.is_terminal:
        raise _RefusedError(
            "job.invalid_state_transition", f"the job is {job.status.value}; it can be requeued once it has ended"
        )
    outcome = ledger.compare_and_requeue_job(
        job_id,
        scope=Admin(),
        expected_status=job.status,
        expected_run_number=job.run_number,
        reason=arguments.reason,
        keeps_progress=arguments.keep_progress,
    )
    match outcome:
        case Requeued():
            return outcome.job
        case CancellationNotQuiesced():
            left = describe_duration(outcome.retry_after)
            raise _RefusedError(
                "job.cancellation_not_quiesced",
                f"its canceled handler may run on for {left}; try again then, or give --at-once",
            )
        case ExpectationMismatch():
            raise _RefusedError(
                "job.invalid_state_transition", f"somebody else was faster: it is {outcome.status.value} now"
            )


def _run(arguments: argparse.Namespace, done: str, act: Callable[[SyncLedger, UUID], JobRecord]) -> int:
    changed: list[JobRecord] = []
    refused: dict[UUID, _RefusedError] = {}
    with open_place(arguments) as place, place.connect() as ledger, naming_options(_OPTION_OF):
        try:
            for job_id in dict.fromkeys(arguments.job_ids):
                try:
                    changed.append(_act(act, ledger, job_id))
                except _RefusedError as error:
                    refused[job_id] = error
        except BaseException:
            # Each of the jobs before is committed: what broke the command must not hide that.
            if changed or refused:
                _tell(arguments, place, done, changed, refused)
            raise
        _tell(arguments, place, done, changed, refused)
    return FAILED if refused else DONE


def _act(act: Callable[[SyncLedger, UUID], JobRecord], ledger: SyncLedger, job_id: UUID) -> JobRecord:
    try:
        return act(ledger, job_id)
    except QueryError as error:
        # Without a SQLSTATE it is a rule that refuses this job, and not a database that would refuse the next as well.
        if error.sqlstate is not None and error.code != RELEASE_CONFLICT:
            raise
        raise _RefusedError(error.code, _RULES.get(error.code, error.client_message)) from None


def _tell(
    arguments: argparse.Namespace,
    place: Place,
    done: str,
    changed: list[JobRecord],
    refused: dict[UUID, _RefusedError],
) -> None:
    if arguments.json:
        print_json(_document(done, changed, refused))
    else:
        _print(place, done, changed, refused)


def _print(place: Place, done: str, changed: list[JobRecord], refused: dict[UUID, _RefusedError]) -> None:
    for job in changed:
        print(f"{done} {job.id} of type {printable(job.job_type)}")
    where = f"schema {place.schema} at {place.database.description}"
    for job_id, error in refused.items():
        print(f"runledger: error: job {job_id} in {where}: {error}", file=sys.stderr)


def _document(done: str, changed: list[JobRecord], refused: dict[UUID, _RefusedError]) -> dict[str, object]:
    return {
        done: [job_document(job) for job in changed],
        "refused": [
            {"job_id": str(job_id), "code": error.code, "message": str(error)} for job_id, error in refused.items()
        ],
    }
