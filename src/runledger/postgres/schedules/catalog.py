"""Schedules of a catalog: declared together by the code of an application, and kept in step with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runledger.core.item_checks import check_distinct_names, check_items
from runledger.core.schedules.schedule import ScheduleOwner, ScheduleRequest, check_catalog_scope
from runledger.core.scope import Admin
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.schedules.writing import Writer, write_schedules
from runledger.postgres.sql_files import SqlFile

_PAUSE_ABSENT = SqlFile("schedules", "pause_absent_schedules")
_DELETE_ABSENT = SqlFile("schedules", "delete_absent_schedules")

_NAME = "schedules.sync_catalog_schedules"


class AbsentSchedules(StrEnum):
    """What becomes of the schedules of a catalog that it does not declare any more."""

    KEEP = "keep"
    """Nothing."""

    PAUSE = "pause"
    """They do not fire until the catalog declares them again."""

    DELETE = "delete"
    """They are deleted. Their jobs stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSync:
    """What a catalog changed.

    Attributes:
        inserted: Names of its new schedules, in order, as all of these.
        updated: Names of those that are something else than before.
        paused: Names of those that it does not declare any more and that it paused.
        deleted: Names of those that it does not declare any more and that it deleted.
    """

    inserted: tuple[str, ...]
    updated: tuple[str, ...]
    paused: tuple[str, ...]
    deleted: tuple[str, ...]


@operation(_NAME)
def sync_catalog_schedules(
    catalog_scope: str,
    requests: Iterable[ScheduleRequest],
    *,
    absent: AbsentSchedules = AbsentSchedules.KEEP,
    applies_is_active: bool = False,
    now: datetime | None = None,
) -> Steps[CatalogSync]:
    """Make the schedules of a catalog what its code declares, in one transaction.

    What an operator has paused stays paused, unless ``applies_is_active`` is set. What the catalog itself had paused
    because it did not declare it starts again. Schedules that are as declared are not written.

    Args:
        catalog_scope: Which catalog; schedules of others are not touched.
        requests: All its schedules, each name once.
        absent: What becomes of those that it does not declare any more.
        applies_is_active: Whether a schedule that exists becomes as active as its request says.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        InvalidArgumentError: A name comes twice, or a zone is not known here.
        InvalidCronError: An expression fires no more.
        QueryError: Nothing was written, see :func:`upsert_schedule`.
    """
    check_catalog_scope(catalog_scope, field="catalog_scope")
    check_now(now)
    declared = list(check_items("requests", requests, ScheduleRequest, remedy="pass ScheduleRequest objects"))
    names = sorted({request.name for request in declared})
    check_distinct_names("requests", [request.name for request in declared], "give each schedule a name of its own")
    writer = Writer(
        operation_name=_NAME,
        scope=Admin(),
        owner=ScheduleOwner.CATALOG,
        catalog_scope=catalog_scope,
        applies_is_active=applies_is_active,
    )
    written = yield from write_schedules(declared, writer=writer, now=now)
    document = encode_document(catalog_scope=catalog_scope, names=names)
    paused: list[str] = []
    deleted: list[str] = []
    if absent is AbsentSchedules.PAUSE:
        rows = yield Statement(sql=_PAUSE_ABSENT, document=document)
        paused = [row["name"] for row in rows]
    elif absent is AbsentSchedules.DELETE:
        rows = yield Statement(sql=_DELETE_ABSENT, document=document)
        deleted = [row["name"] for row in rows]
    return CatalogSync(
        inserted=tuple(sorted(written.inserted)),
        updated=tuple(sorted(written.updated)),
        paused=tuple(paused),
        deleted=tuple(deleted),
    )
