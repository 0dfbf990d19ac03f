"""The list of dead letters."""

from __future__ import annotations

from runledger.core.jobs.summaries import DeadLetterPage
from runledger.core.scope import Scope
from runledger.postgres.admin.pagination import SCAN_LIMIT, check_page_limit, decode_instant_cursor, encode_cursor
from runledger.postgres.document import encode_document, scope_fields, text_filters
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import decode_dead_letter_summary
from runledger.postgres.sql_files import SqlFile

_LIST = SqlFile("admin", "list_dead_letters")


@operation("admin.list_dead_letters")
def list_dead_letters(
    *,
    scope: Scope,
    job_type: str | None = None,
    job_type_contains: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Steps[DeadLetterPage]:
    """Return a page of dead letters, latest first; also those of jobs that were requeued since.

    For a page at most 20,000 of them are read; as :func:`list_jobs`, whose arguments and errors these are.
    """
    check_page_limit(limit)
    before_at, before_job_id = decode_instant_cursor(cursor)
    document = encode_document(
        **scope_fields(scope),
        **text_filters(job_type=job_type, job_type_contains=job_type_contains),
        limit=limit,
        before_at=before_at,
        before_job_id=before_job_id,
        scan_limit=SCAN_LIMIT,
    )
    rows = yield Statement(sql=_LIST, document=document, is_only=True)
    letters = [decode_dead_letter_summary(row) for row in rows if row["job_id"] is not None]
    end_at, end_id = rows[0]["scan_end_at"], rows[0]["scan_end_job_id"]
    if len(letters) == limit:
        end_at, end_id = letters[-1].failed_at, letters[-1].job_id
    return DeadLetterPage(dead_letters=letters, next_cursor=None if end_at is None else encode_cursor(end_id, end_at))
