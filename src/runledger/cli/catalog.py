"""``runledger catalog``."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict, dataclass

from runledger.cli.catalog_changes import SettingChange, changes_of_schedules, changes_of_types, read_stored
from runledger.cli.failures import DONE, BadInputError
from runledger.cli.json_text import print_json
from runledger.cli.place import open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.registry_path import load_catalog
from runledger.cli.times import describe_duration
from runledger.client import SyncLedger
from runledger.core import CatalogDeclaration, CatalogSyncMode, InvalidArgumentError, PayloadMismatchError
from runledger.core.printable import printable
from runledger.postgres.catalogs import CatalogSyncResult

_NOT_WRITTEN = "Nothing was written: this was a dry run."


class _DryRunEndsError(Exception):
    """Rolls the transaction of a dry run back."""


def run(arguments: argparse.Namespace) -> int:
    """Show what a catalog declares, or make the database so."""
    try:
        declaration = load_catalog(arguments.catalog).declaration()
        if arguments.action == "show":
            _show(declaration, is_json=arguments.json)
        else:
            _sync(declaration, arguments)
    except (InvalidArgumentError, PayloadMismatchError) as error:
        raise BadInputError(f"catalog {arguments.catalog}: {error}") from None
    return DONE


def _show(declaration: CatalogDeclaration, *, is_json: bool) -> None:
    if is_json:
        print_json(_declaration_document(declaration))
        return
    print(f"Catalog {printable(declaration.scope)}\n")
    rows = [
        (
            printable(definition.job_type),
            "yes" if definition.is_enabled else "no",
            str(definition.max_attempts),
            describe_duration(definition.default_timeout),
            str(definition.default_priority),
        )
        for definition in declaration.definitions
    ]
    print_columns([("type", "enabled", "attempts", "timeout", "priority"), *rows])
    if declaration.schedules:
        print()
        times = [
            (
                printable(schedule.name),
                "yes" if schedule.is_active else "no",
                printable(schedule.job_type),
                printable(schedule.cron_expr),
                printable(schedule.timezone),
            )
            for schedule in declaration.schedules
        ]
        print_columns([("schedule", "active", "type", "expression", "time zone"), *times])


def _sync(declaration: CatalogDeclaration, arguments: argparse.Namespace) -> None:
    with open_place(arguments) as place, place.connect() as ledger:
        synced = _synced(ledger, declaration, arguments)
    if arguments.json:
        document = asdict(synced.result) | {
            "changes": {
                "types": _change_documents(synced.of_types),
                "schedules": _change_documents(synced.of_schedules),
            },
            "scope": declaration.scope,
            "is_dry_run": arguments.is_dry_run,
        }
        print_json(document)
    else:
        _print(synced, is_dry_run=arguments.is_dry_run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Synced:
    """What a sync changed, and of what it updated, which settings."""

    result: CatalogSyncResult
    of_types: dict[str, list[SettingChange]]
    of_schedules: dict[str, list[SettingChange]]


def _synced(ledger: SyncLedger, declaration: CatalogDeclaration, arguments: argparse.Namespace) -> _Synced:
    synced: _Synced | None = None
    with contextlib.suppress(_DryRunEndsError), ledger.transaction() as connection:
        before = read_stored(ledger, declaration, connection)
        result = ledger.sync_catalog(
            declaration,
            mode=CatalogSyncMode.EXACT if arguments.is_exact else CatalogSyncMode.ADDITIVE,
            keeps_enabled=not arguments.restores_enabled,
            connection=connection,
        )
        after = read_stored(ledger, declaration, connection)
        synced = _Synced(
            result=result,
            of_types=changes_of_types(before, after, result.updated),
            of_schedules=changes_of_schedules(before, after, result.schedules.updated),
        )
        if arguments.is_dry_run:
            raise _DryRunEndsError
    assert synced is not None  # noqa: S101 (both ways out come after it)
    return synced


def _print(synced: _Synced, *, is_dry_run: bool) -> None:
    result = synced.result
    settings = {("type", name): changes for name, changes in synced.of_types.items()}
    settings |= {("schedule", name): changes for name, changes in synced.of_schedules.items()}
    changes = (
        ("type", "inserted", result.inserted),
        ("type", "updated", result.updated),
        ("type", "disabled", result.disabled),
        ("type", "enabled", result.enabled),
        ("schedule", "inserted", result.schedules.inserted),
        ("schedule", "updated", result.schedules.updated),
        ("schedule", "paused", result.schedules.paused),
    )
    rows = [
        (kind, printable(name), _described(change, settings.get((kind, name), [])))
        for kind, change, names in changes
        for name in names
    ]
    if rows:
        print_columns(rows)
    else:
        print("up to date")
    if is_dry_run:
        print(f"\n{_NOT_WRITTEN}")


def _described(change: str, settings: list[SettingChange]) -> str:
    if change != "updated" or not settings:
        return change
    return f"{change}: {', '.join(setting.described() for setting in settings)}"


def _change_documents(changes: dict[str, list[SettingChange]]) -> dict[str, list[dict[str, object]]]:
    return {name: [change.document() for change in of_name] for name, of_name in changes.items()}


def _declaration_document(declaration: CatalogDeclaration) -> dict[str, object]:
    return {
        "scope": declaration.scope,
        "definitions": [
            {
                "job_type": definition.job_type,
                "max_attempts": definition.max_attempts,
                "default_timeout_seconds": definition.default_timeout_seconds,
                "default_priority": definition.default_priority,
                "is_enabled": definition.is_enabled,
            }
            for definition in declaration.definitions
        ],
        "schedules": [
            {
                "name": schedule.name,
                "job_type": schedule.job_type,
                "cron_expr": schedule.cron_expr,
                "timezone": schedule.timezone,
                "is_active": schedule.is_active,
            }
            for schedule in declaration.schedules
        ],
    }
