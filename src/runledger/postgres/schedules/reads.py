"""Read schedules."""

from __future__ import annotations

from runledger.core.database_text import check_text
from runledger.core.schedules.schedule import ScheduleRecord
from runledger.core.scope import Scope
from runledger.postgres.document import check_limit, encode_document, scope_fields, text_filters
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_schedule
from runledger.postgres.sql_files import SqlFile

_GET = SqlFile("schedules", "get_schedule")
_LIST = SqlFile("schedules", "list_schedules")


@operation("schedules.get_schedule")
def get_schedule(name: str, *, scope: Scope) -> Steps[ScheduleRecord | None]:
    """Return the schedule of a name, or ``None`` when there is none in the scope."""
    return (yield from read_schedule(name, scope=scope, is_only=True))


@operation("schedules.list_schedules")
def list_schedules(
    *,
    scope: Scope,
    name_contains: str | None = None,
    job_type: str | None = None,
    after_name: str | None = None,
    limit: int = 100,
) -> Steps[list[ScheduleRecord]]:
    """Return the schedules of the scope in the order of their names.

    Args:
        scope: Whose schedules may be seen.
        name_contains: Only names with this text in them; case does not matter, ``%`` and ``_`` are literal.
        job_type: Only schedules of this job type.
        after_name: Only names after this one; the last of the page before.
        limit: The most rows to return.
    """
    check_limit(limit)
    document = encode_document(
        **text_filters(name_contains=name_contains, job_type=job_type, after_name=after_name),
        limit=limit,
        **scope_fields(scope),
    )
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    return [decode_schedule(row) for row in rows]


def read_schedule(name: str, *, scope: Scope, is_only: bool = False) -> Steps[ScheduleRecord | None]:
    """Return a schedule, as the whole of an operation or as a part of one."""
    check_text("name", name)
    document = encode_document(name=name, **scope_fields(scope))
    rows = yield Statement(sql=_GET, document=document, is_only=is_only)
    return decode_schedule(rows[0]) if rows else None
