"""The refusal of requests whose job types take no jobs: nobody has defined them, or they are disabled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runledger.postgres.document import encode_document
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

_LIST_DISABLED = SqlFile("definitions", "list_disabled_definitions")

_SHOWN_TYPES = 3


def definition_missing(
    job_types: list[str],
    *,
    code: str = "job.definition_not_found_or_disabled",
    place: str = "",
    opens_part: bool = False,
) -> Steps[QueryError]:
    """Return the error of requests whose types have no enabled definition, after a look at why not.

    Args:
        job_types: The types.
        code: The code of the error.
        place: What the text begins with: which of several requests is the first with such a type.
        opens_part: The statement that was refused was sent as the only one, so that a look needs a part of its own.
    """
    document = encode_document(job_types=job_types)
    rows = yield Statement(sql=_LIST_DISABLED, document=document, opens_part=opens_part)
    absent_from: dict[str, str | None] = {row["job_type"]: row["absent_from"] for row in rows}
    return refusal(
        QueryErrorCategory.VALIDATION,
        code,
        place + "; and ".join(_problems(job_types, absent_from)),
        internal=f"enqueue: no enabled definition of {', '.join(job_types)}",
    )


def _problems(job_types: list[str], absent_from: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a clause for each cause, with its remedy.

    Args:
        job_types: The types that take no jobs.
        absent_from: Those of them that are disabled, and which catalog has given them up.
    """
    unknown = [job_type for job_type in job_types if job_type not in absent_from]
    if unknown:
        verb = "has" if len(unknown) == 1 else "have"
        yield f"{_named(unknown)} {verb} no definition; check the name, or define it with ensure_job_definitions"
    for catalog in sorted(set(absent_from.values()), key=lambda scope: scope or ""):
        disabled = [job_type for job_type in job_types if absent_from.get(job_type, "") == catalog]
        verb = "is" if len(disabled) == 1 else "are"
        if catalog is None:
            remedy = "enable it with update_job_definition or `runledger definition set`"
            yield f"{_named(disabled)} {verb} disabled; {remedy}"
        else:
            cause = f"because the catalog {catalog!r} does not declare it any more"
            yield f"{_named(disabled)} {verb} disabled {cause}; declare it there, and sync the catalog"


def _named(job_types: Sequence[str]) -> str:
    shown = ", ".join(repr(job_type) for job_type in job_types[:_SHOWN_TYPES])
    if len(job_types) == 1:
        return f"job type {shown}"
    more = len(job_types) - _SHOWN_TYPES
    return f"job types {shown}{f' and {more} more' if more > 0 else ''}"
