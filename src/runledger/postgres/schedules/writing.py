"""Write schedules: what an operator's upsert and a catalog's have in common.

The locks of definitions come first, by type, then those of schedules, by name. Both are held until the transaction
ends, so that a definition which an active schedule needs stays enabled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from uuid import UUID

from runledger.core.json_value import encode_json
from runledger.core.schedules.catch_up import first_fire_at
from runledger.core.schedules.cron_expression import CronExpression, parse_cron
from runledger.core.schedules.schedule import ScheduleOwner, ScheduleRequest
from runledger.core.scope import Scope, scope_holds
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS, encode_document, scope_fields
from runledger.postgres.operation import Row, Rows, Statement, Steps
from runledger.postgres.schedules.refusals import (
    definition_missing,
    fires_no_more,
    moves_too_fast,
    name_taken,
    outside_the_scope,
    owner_mismatch,
)
from runledger.postgres.schedules.time_zone import time_zone
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7

_LOCK_DEFINITIONS = SqlFile("definitions", "lock_definitions")
_LOCK = SqlFile("schedules", "lock_schedules")
_INSERT = SqlFile("schedules", "insert_schedules")
_UPDATE = SqlFile("schedules", "update_schedules")

# The first look may miss a name that is being taken, the second sees it.
MAX_LOOKS = 4
"""How often to look again when others change the same schedules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """On whose behalf schedules are written.

    Attributes:
        operation_name: The name of the operation, for errors.
        scope: Whose schedules may be changed.
        owner: The kind of owner that the schedules have.
        catalog_scope: The catalog that owns them, if one does.
        applies_is_active: Whether a schedule that exists becomes as active as the request says.
    """

    operation_name: str
    scope: Scope
    owner: ScheduleOwner
    catalog_scope: str | None = None
    applies_is_active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        inserted: Names of the new ones.
        updated: Names of those that changed.
    """

    inserted: list[str] = field(default_factory=list[str])
    updated: list[str] = field(default_factory=list[str])


def write_schedules(requests: Sequence[ScheduleRequest], *, writer: Writer, now: datetime | None) -> Steps[Written]:
    """Insert schedules or change those that exist, each name once.

    Raises:
        InvalidArgumentError: A time zone is not known here; nothing was sent. Or a new schedule is of an organization
            outside the scope.
        InvalidCronError: An expression fires no more.
        QueryError: A definition is missing, or a schedule belongs to somebody else. Nothing may be committed.
    """
    wanted = sorted((_Wanted.of(request) for request in requests), key=lambda one: one.request.name)
    enabled = yield from lock_definitions({one.request.job_type for one in wanted})
    written = Written()
    for batch in _batches(wanted):
        yield from _write_batch(batch, enabled, written, writer, now)
    return written


def lock_definitions(job_types: set[str]) -> Steps[dict[str, bool]]:
    """Keep definitions from being disabled, and return which exist and whether they are enabled."""
    rows = yield Statement(sql=_LOCK_DEFINITIONS, document=encode_document(job_types=sorted(job_types)))
    return {row["job_type"]: row["is_enabled"] for row in rows}


def lock_schedules(names: list[str], *, scope: Scope, now: datetime | None) -> Steps[Rows]:
    """Wait for the locks of schedules and return a row for each name, without ``schedule_id`` where there is none."""
    document = encode_document(names=names, now=now, **scope_fields(scope))
    return (yield Statement(sql=_LOCK, document=document))


def check_owner(row: Row, writer: Writer) -> None:
    """Refuse a locked schedule that another owner declares.

    Raises:
        QueryError: ``job_schedule.owner_mismatch``.
    """
    if (row["owner"], row["catalog_scope"]) != (writer.owner, writer.catalog_scope):
        is_catalogs = row["owner"] == ScheduleOwner.CATALOG
        owner = f"the catalog {row['catalog_scope']!r}" if is_catalogs else "an operator"
        raise owner_mismatch(writer.operation_name, owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A request with what is needed more than once."""

    request: ScheduleRequest
    expression: CronExpression
    zone: tzinfo
    payload_template_json: str

    @classmethod
    def of(cls, request: ScheduleRequest) -> _Wanted:
        return cls(
            request=request,
            expression=parse_cron(request.cron_expr),
            zone=time_zone(request.timezone),
            payload_template_json=encode_json(request.payload_template, field="payload_template"),
        )

    def first_fire_at(self, schedule_id: UUID, after: datetime) -> datetime:
        fire_at = first_fire_at(
            self.expression,
            zone=self.zone,
            schedule_id=schedule_id,
            max_jitter_seconds=self.request.max_jitter_seconds,
            after=after,
        )
        if fire_at is None:
            raise fires_no_more()
        return fire_at

    def item_json(self, schedule_id: UUID, *, is_active: bool, next_fire_at: datetime | None) -> str:
        """Return the object of the document that says what the schedule is to be."""
        request = self.request
        members = encode_document(
            schedule_id=schedule_id,
            job_type=request.job_type,
            cron_expr=request.cron_expr,
            timezone=request.timezone,
            is_active=is_active,
            next_fire_at=next_fire_at,
            max_jitter_seconds=request.max_jitter_seconds,
            catch_up=request.catch_up,
            catch_up_limit=request.catch_up_limit,
            overlap=request.overlap,
        )
        return f'{members[:-1]},"payload_template":{self.payload_template_json}}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """What is to be written of one schedule.

    Attributes:
        name: The schedule.
        job_type: The type of its jobs.
        is_new: Whether it is to be inserted, and not changed.
        is_active: Whether it will fire.
        json: The object of the document.
    """

    name: str
    job_type: str
    is_new: bool
    is_active: bool
    json: str


def _batches(wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
    batch: list[_Wanted] = []
    size = 0
    for one in wanted:
        if len(batch) == MAX_BATCH_ROWS or (batch and size + len(one.payload_template_json) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.payload_template_json)
    if batch:
        yield batch


def _write_batch(
    batch: list[_Wanted], enabled: dict[str, bool], written: Written, writer: Writer, now: datetime | None
) -> Steps[None]:
    unwritten = {one.request.name: one for one in batch}
    for _ in range(MAX_LOOKS):
        rows = yield from lock_schedules(list(unwritten), scope=writer.scope, now=now)
        items = [_item(unwritten[row["name"]], row, writer) for row in rows]
        _check_definitions(items, enabled, writer)
        changed = [item.json for item in items if not item.is_new]
        if changed:
            rows = yield Statement(sql=_UPDATE, document=_document(changed))
            written.updated.extend(row["name"] for row in rows)
        new = [item for item in items if item.is_new]
        if not new:
            return
        rows = yield Statement(sql=_INSERT, document=_document([item.json for item in new]))
        inserted = {row["name"] for row in rows}
        written.inserted.extend(inserted)
        unwritten = {item.name: unwritten[item.name] for item in new if item.name not in inserted}
        if not unwritten:
            return
        # Somebody else has made them since the look, so they are there now.
    raise moves_too_fast(writer.operation_name)


def _item(one: _Wanted, row: Row, writer: Writer) -> _Item:
    return _new_item(one, row, writer) if row["schedule_id"] is None else _changed_item(one, row, writer)


def _new_item(one: _Wanted, row: Row, writer: Writer) -> _Item:
    request = one.request
    if not scope_holds(writer.scope, request.organization_id):
        raise outside_the_scope()
    schedule_id = uuid7()
    json = one.item_json(
        schedule_id, is_active=request.is_active, next_fire_at=one.first_fire_at(schedule_id, row["at"])
    )
    identity = encode_document(
        name=request.name,
        organization_id=request.organization_id,
        owner=writer.owner,
        catalog_scope=writer.catalog_scope,
    )
    return _Item(
        name=request.name,
        job_type=request.job_type,
        is_new=True,
        is_active=request.is_active,
        json=f"{json[:-1]},{identity[1:]}",
    )


def _changed_item(one: _Wanted, row: Row, writer: Writer) -> _Item:
    if not row["is_visible"]:
        raise name_taken(writer.operation_name)
    check_owner(row, writer)
    request = one.request
    applies_is_active = writer.applies_is_active or row["is_absent"]
    is_active: bool = request.is_active if applies_is_active else row["is_active"]
    has_new_times = (row["cron_expr"], row["timezone"]) != (request.cron_expr, request.timezone)
    # What passed during a pause does not fire.
    starts_late = is_active and not row["is_active"] and row["next_fire_at"] <= row["at"]
    schedule_id: UUID = row["schedule_id"]
    next_fire_at = one.first_fire_at(schedule_id, row["at"]) if has_new_times or starts_late else None
    return _Item(
        name=request.name,
        job_type=request.job_type,
        is_new=False,
        is_active=is_active,
        json=one.item_json(schedule_id, is_active=is_active, next_fire_at=next_fire_at),
    )


def _check_definitions(items: list[_Item], enabled: dict[str, bool], writer: Writer) -> None:
    """Refuse schedules without a definition, and active ones whose definition is disabled."""
    missing = {
        item.job_type
        for item in items
        if item.job_type not in enabled or (item.is_active and not enabled[item.job_type])
    }
    if missing:
        raise definition_missing(writer.operation_name, sorted(missing))


def _document(items: list[str]) -> str:
    return f'{{"schedules":[{",".join(items)}]}}'
