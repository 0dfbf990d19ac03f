"""Catalogs: job types and schedules that the code of an application declares together, kept in step with it.

A job type belongs to one catalog, as a schedule does. Definitions without an owner become those of the first catalog
that declares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from runledger.core.catalog import CatalogDeclaration, CatalogSyncMode
from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.records import JobDefinition
from runledger.postgres.document import check_now, encode_document
from runledger.postgres.jobs.definitions import check_no_active_schedule, definition_fields
from runledger.postgres.locks import restore_lock_timeout, set_lock_timeout
from runledger.postgres.operation import Row, Statement, Steps, operation
from runledger.postgres.row_decoding import decode_definition
from runledger.postgres.schedules.catalog import AbsentSchedules, CatalogSync, sync_catalog_schedules
from runledger.postgres.sql_errors import ErrorClass, QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile

__all__ = ["CatalogSyncResult", "sync_catalog"]

DEFAULT_LOCK_TIMEOUT = timedelta(seconds=10)
"""How long each lock is waited for when the caller does not say."""

_INSERT = SqlFile("definitions", "insert_catalog_definitions")
_LIST = SqlFile("definitions", "list_catalog_definitions")
_UPDATE = SqlFile("definitions", "update_catalog_definitions")

_NAME = "catalogs.sync_catalog"

_LOCKED = ErrorClass(
    QueryErrorCategory.CONFLICT,
    "job_definition.lock_timeout",
    "an open transaction has changed one of the job types and did not end in time; try again",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSyncResult:
    """What the sync of a catalog changed. Names are in order.

    Attributes:
        inserted: Job types that are new.
        updated: Job types whose defaults or owner are others than before.
        disabled: Job types that take no new jobs any more: because the catalog does not declare them, or says so.
        enabled: Job types that take new jobs again.
        schedules: What changed of its schedules.
    """

    inserted: tuple[str, ...]
    updated: tuple[str, ...]
    disabled: tuple[str, ...]
    enabled: tuple[str, ...]
    schedules: CatalogSync

    @property
    def has_changes(self) -> bool:
        """Whether anything is another than before."""
        of_schedules = self.schedules
        changes = (self.inserted, self.updated, self.disabled, self.enabled)
        return any(changes) or any(
            (of_schedules.inserted, of_schedules.updated, of_schedules.paused, of_schedules.deleted)
        )


@operation(_NAME)
def sync_catalog(
    declaration: CatalogDeclaration,
    *,
    mode: CatalogSyncMode = CatalogSyncMode.ADDITIVE,
    keeps_enabled: bool = True,
    lock_timeout: timedelta = DEFAULT_LOCK_TIMEOUT,
    now: datetime | None = None,
) -> Steps[CatalogSyncResult]:
    """Make job types and schedules what a catalog declares, in one transaction.

    Defaults of types and settings of schedules become those that are declared. Of those that exist it stays as it is
    whether they are enabled and active, unless ``keeps_enabled`` is false; what the catalog itself had disabled and
    paused, because it did not declare it, goes on when it is declared again. What is as declared is not written.

    Args:
        declaration: All that the catalog declares.
        mode: What becomes of types and schedules that the catalog owns and does not declare any more.
        keeps_enabled: Whether a type that an operator has disabled stays disabled, and a schedule that an operator has
            paused stays paused.
        lock_timeout: Bound on each wait for a lock, unless the transaction has a shorter one.
        now: Instant to use instead of the database's clock for schedules, for tests.

    Raises:
        InvalidArgumentError: A time zone is not known here.
        InvalidCronError: An expression fires no more.
        QueryError: Nothing may be committed: ``job_definition.owner_mismatch``: another catalog owns a type;
            ``job_definition.active_schedule_exists``: active schedules of others need a type that is to be disabled;
            ``job_definition.lock_timeout``; or what :func:`~runledger.postgres.schedules.sync_catalog_schedules` says.
    """
    if not isinstance(declaration, CatalogDeclaration):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            "declaration", f"is of type {type(declaration).__name__}", "pass what catalog.declaration() returns"
        )
    if not isinstance(mode, CatalogSyncMode):  # pyright: ignore[reportUnnecessaryIsInstance]
        # A text would be taken for the mode that disables nothing.
        raise InvalidArgumentError("mode", f"is of type {type(mode).__name__}", "pass a CatalogSyncMode")
    check_now(now)
    is_exact = mode is CatalogSyncMode.EXACT
    former = yield from set_lock_timeout(lock_timeout)
    inserted = yield from _insert_missing(declaration, is_exact=is_exact)
    changes = yield from _change_existing(declaration, inserted, is_exact=is_exact, keeps_enabled=keeps_enabled)
    # The locks of definitions come before those of schedules.
    schedules = yield from sync_catalog_schedules(
        declaration.scope,
        declaration.schedules,
        absent=AbsentSchedules.PAUSE if is_exact else AbsentSchedules.KEEP,
        applies_is_active=not keeps_enabled,
        now=now,
    ).begin()
    disabled = [change.job_type for change in changes if change.is_disabled]
    if disabled:
        yield from check_no_active_schedule(_NAME, disabled)
    yield from restore_lock_timeout(former)
    return CatalogSyncResult(
        inserted=tuple(sorted(inserted)),
        updated=tuple(change.job_type for change in changes if change.is_update),
        disabled=tuple(disabled),
        enabled=tuple(change.job_type for change in changes if change.is_enabled),
        schedules=schedules,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What a definition was, and what it becomes.

    Attributes:
        before: The definition as it was.
        after: The definition as it becomes.
        owner: The catalog that owns it then; ``None``: none does.
        is_new_owner: Whether it had another owner before, or none.
        is_absent: Whether its owner has disabled it, since it does not declare it any more.
    """

    before: JobDefinition
    after: JobDefinition
    owner: str | None
    is_new_owner: bool = False
    is_absent: bool = False

    @property
    def job_type(self) -> str:
        return self.after.job_type

    @property
    def is_disabled(self) -> bool:
        return self.before.is_enabled and not self.after.is_enabled

    @property
    def is_enabled(self) -> bool:
        return self.after.is_enabled and not self.before.is_enabled

    @property
    def is_update(self) -> bool:
        return self.is_new_owner or replace(self.before, is_enabled=self.after.is_enabled) != self.after


def _insert_missing(declaration: CatalogDeclaration, *, is_exact: bool) -> Steps[set[str]]:
    """Insert what does not exist, lock what does, and return the types that are new."""
    document = {
        "catalog_scope": declaration.scope,
        "is_exact": is_exact,
        "definitions": [definition_fields(one) for one in declaration.definitions],
    }
    rows = yield Statement(sql=_INSERT, document=json.dumps(document, ensure_ascii=False), lock_conflict=_LOCKED)
    return {row["job_type"] for row in rows}


def _change_existing(
    declaration: CatalogDeclaration, inserted: set[str], *, is_exact: bool, keeps_enabled: bool
) -> Steps[list[_Change]]:
    """Change the definitions that are others than declared, and those that are not declared any more."""
    declared = {definition.job_type: definition for definition in declaration.definitions}
    rows = yield Statement(
        sql=_LIST, document=encode_document(catalog_scope=declaration.scope, job_types=sorted(declared))
    )
    _check_owners([row for row in rows if row["job_type"] in declared], declaration.scope)
    changes: list[_Change] = []
    for row in rows:
        definition = declared.get(row["job_type"])
        if definition is not None and row["job_type"] not in inserted:
            change = _declared_change(row, definition, scope=declaration.scope, keeps_enabled=keeps_enabled)
        elif definition is None and is_exact:
            change = _absent_change(row, scope=declaration.scope)
        else:
            change = None
        if change is not None:
            changes.append(change)
    if changes:
        definitions = [
            definition_fields(change.after) | {"catalog_scope": change.owner, "is_absent": change.is_absent}
            for change in changes
        ]
        yield Statement(sql=_UPDATE, document=json.dumps({"definitions": definitions}, ensure_ascii=False))
    return changes


def _declared_change(row: Row, declared: JobDefinition, *, scope: str, keeps_enabled: bool) -> _Change | None:
    before = decode_definition(row)
    # A pause is an operator's alone, and whether the owner changes is told apart.
    declared = replace(declared, paused_at=before.paused_at, catalog_scope=before.catalog_scope)
    if keeps_enabled and not row["is_absent"]:
        declared = replace(declared, is_enabled=before.is_enabled)
    is_new_owner = row["catalog_scope"] != scope
    if before == declared and not is_new_owner and not row["is_absent"]:
        return None
    return _Change(before=before, after=declared, owner=scope, is_new_owner=is_new_owner)


def _absent_change(row: Row, *, scope: str) -> _Change | None:
    if row["is_absent"]:
        return None
    before = decode_definition(row)
    if before.is_enabled:
        return _Change(before=before, after=replace(before, is_enabled=False), owner=scope, is_absent=True)
    # A person has disabled it. Noted as absent, it would be enabled by the next catalog that declares it; as nobody's
    # it can be declared by any, and stays disabled.
    return _Change(before=before, after=before, owner=None, is_new_owner=True)


def _check_owners(rows: Iterable[Row], scope: str) -> None:
    """Refuse types of other catalogs, unless these have given them up."""
    for row in rows:
        if row["catalog_scope"] not in {None, scope} and not row["is_absent"]:
            raise _owner_mismatch(row["job_type"], row["catalog_scope"])


def _owner_mismatch(job_type: str, owner: str) -> QueryError:
    text = f"the job type {job_type!r} belongs to the catalog {owner!r}; declare it there, or give it up there first"
    return refusal(QueryErrorCategory.CONFLICT, "job_definition.owner_mismatch", text, internal=f"{_NAME}: {text}")
