"""Edits of the payloads of jobs that wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.payload_edit import (
    PayloadEdit,
    PayloadNotFound,
    PayloadRejected,
    PayloadRejection,
    PayloadUpdated,
)
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.core.scope import Scope
from runledger.postgres.document import check_now, job_document
from runledger.postgres.jobs.locking import read_changed_job
from runledger.postgres.locks import restore_lock_timeout, set_lock_timeout
from runledger.postgres.operation import Rows, Statement, Steps, operation
from runledger.postgres.sql_errors import QueryError
from runledger.postgres.sql_files import SqlFile

_EDIT = SqlFile("admin", "edit_job_payload")

_LOCK_TIMEOUT = timedelta(seconds=5)
_LOCK_NOT_AVAILABLE = "55P03"
_UPDATED = "UPDATED"


@operation("admin.edit_job_payload")
def edit_job_payload(
    job_id: UUID,
    *,
    scope: Scope,
    members: Mapping[str, JsonEncodable] | None = None,
    removed: Sequence[str] = (),
    lock_timeout: timedelta = _LOCK_TIMEOUT,
    now: datetime | None = None,
) -> Steps[PayloadEdit]:
    """Set and remove members of the payload of a job that waits. No event tells of it.

    Args:
        job_id: The job.
        scope: Whose jobs may be changed.
        members: What to set; other members stay.
        removed: The names of members to remove.
        lock_timeout: How long to wait for whoever has the job locked.
        now: Instant to use instead of the transaction's, for tests.

    Returns:
        ``PayloadUpdated``, ``PayloadNotFound``, or ``PayloadRejected`` with the reason.

    Raises:
        InvalidArgumentError: There is nothing to do, ``members`` is no mapping, ``removed`` holds something else than
            names, a member is to be both set and removed, or one is nothing that JSON and PostgreSQL can hold.
    """
    members = _checked_members(members)
    removed = _checked_names(removed)
    if not members and not removed:
        raise InvalidArgumentError("members", "is empty, and so is removed", "say what to set or to remove")
    if not set(members).isdisjoint(removed):
        raise InvalidArgumentError("removed", "contains a member that members sets", "name each in one of the two")
    check_now(now)
    members_json = encode_json(members, field="members")
    removed_json = encode_json(removed, field="removed")
    head = job_document(job_id, scope=scope, now=now)
    document = f'{head[:-1]},"members":{members_json},"removed":{removed_json}}}'
    former = yield from set_lock_timeout(lock_timeout)
    rows = yield from _edit(document)
    yield from restore_lock_timeout(former)
    if rows is None:
        return PayloadRejected(reason=PayloadRejection.LOCKED)
    if not rows:
        return PayloadNotFound()
    if rows[0]["edit_verdict"] != _UPDATED:
        return PayloadRejected(reason=PayloadRejection(rows[0]["edit_verdict"]))
    return PayloadUpdated(job=(yield from read_changed_job(job_id, scope=scope)))


def _edit(document: str) -> Steps[Rows | None]:
    """Return the row with the verdict, no row without the job, or ``None`` when somebody keeps it locked."""
    try:
        return (yield Statement(sql=_EDIT, document=document, is_guarded=True))
    except QueryError as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        return None


def _checked_members(members: Mapping[str, JsonEncodable] | None) -> Mapping[str, JsonEncodable]:
    """Return what to set. PostgreSQL would join anything else and the payload to an array."""
    if members is None:
        return {}
    if not isinstance(members, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("members", f"is of type {type(members).__name__}", "pass a dict of what to set")
    return members


def _checked_names(removed: Sequence[str]) -> list[str]:
    """Return the names of what to remove. PostgreSQL would take the text of anything else for a name."""
    if isinstance(removed, str):
        raise InvalidArgumentError("removed", "is a single text", "put it into a list")
    if not isinstance(removed, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("removed", f"is of type {type(removed).__name__}", "pass a list of names")
    names = list(removed)
    for index, name in enumerate(names):
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                f"removed[{index}]", f"is of type {type(name).__name__}", "pass the name of a member, a str"
            )
    return names
