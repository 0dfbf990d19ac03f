"""``runledger schedule``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any

from runledger.cli.failures import DONE, BadInputError, CommandError
from runledger.cli.json_option import parse_json
from runledger.cli.json_text import decoded, print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place, open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.schedule_failure import explain_failure
from runledger.cli.times import describe_duration, describe_instant
from runledger.client import SyncLedger
from runledger.core import (
    Admin,
    CatchUp,
    JsonValue,
    Overlap,
    ScheduleOwner,
    ScheduleRecord,
)
from runledger.core.printable import printable

_ADMIN = Admin()
_PAGE = 1_000
_PAUSED = "A paused schedule makes no jobs; `runledger schedule resume NAME` lets it fire again, at its next time."
_OPTION_OF = {
    "name": "NAME",
    "name_contains": "TEXT",
    "job_type": "--type",
    "cron_expr": "--cron",
    "timezone": "--timezone",
    "payload_template": "--payload",
    "max_jitter": "--jitter",
    "catch_up_limit": "--catch-up-limit",
    "next_fire_at": "--next-fire-at",
}


def run(arguments: argparse.Namespace) -> int:
    """List schedules, show one, make, change, pause, resume or delete one."""
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options(_OPTION_OF):
            done = _ACTIONS[arguments.action](ledger, arguments)
        if done is None:
            raise _no_such_schedule(arguments.name, place)
    done()
    return DONE


_Print = Callable[[], None]


def _list(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print:
    found: list[ScheduleRecord] = []
    while page := ledger.list_schedules(
        scope=_ADMIN,
        name_contains=arguments.filter,
        job_type=arguments.job_type,
        after_name=found[-1].name if found else None,
        limit=_PAGE,
    ):
        found += page
    if arguments.json:
        return lambda: print_json({"schedules": [_document(one, arguments) for one in found]})
    return lambda: _print_all(found)


def _show(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    schedule = ledger.get_schedule(arguments.name, scope=_ADMIN)
    if schedule is None or schedule.deferred_due_at is None:
        return _printing(schedule, arguments)
    return _printing(schedule, arguments, failure=explain_failure(ledger, schedule))


def _set(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    changes = _changes(arguments)
    with ledger.transaction() as connection:
        # First the change, which waits for whoever changes it now; to read it first would be to write what it was.
        if changes:
            schedule = ledger.update_schedule(arguments.name, **changes, scope=_ADMIN, connection=connection)
        else:
            schedule = ledger.get_schedule(arguments.name, scope=_ADMIN, connection=connection)
        if schedule is None:
            settings = _settings_of_new(changes, arguments)
            schedule = ledger.upsert_schedule(arguments.name, **settings, scope=_ADMIN, connection=connection)
        if arguments.next_fire_at is not None:
            schedule = ledger.set_schedule_next_fire(
                arguments.name, arguments.next_fire_at, scope=_ADMIN, connection=connection
            )
    return _printing(schedule, arguments)


def _pause(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    return _printing(ledger.pause_schedule(arguments.name, scope=_ADMIN), arguments)


def _resume(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    return _printing(ledger.activate_schedule(arguments.name, scope=_ADMIN), arguments)


def _delete(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    if not ledger.delete_schedule(arguments.name, scope=_ADMIN):
        return None
    return lambda: print(f"deleted schedule {printable(arguments.name)}; its jobs stay")


_ACTIONS: dict[str, Callable[[SyncLedger, argparse.Namespace], _Print | None]] = {
    "list": _list,
    "show": _show,
    "set": _set,
    "pause": _pause,
    "resume": _resume,
    "delete": _delete,
}


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given, by the names that the ledger has for them."""
    changes: dict[str, Any] = {
        "job_type": arguments.job_type,
        "cron_expr": arguments.cron_expr,
        "timezone": arguments.timezone,
        "max_jitter": arguments.max_jitter,
        "catch_up": None if arguments.catch_up is None else CatchUp(arguments.catch_up),
        "catch_up_limit": arguments.catch_up_limit,
        "overlap": None if arguments.overlap is None else Overlap(arguments.overlap),
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if arguments.payload is not None:
        changes["payload_template"] = parse_json(arguments.payload, option="--payload", example='{"report": "sales"}')
    return changes


def _settings_of_new(changes: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a new schedule: what was given."""
    for name in ("job_type", "cron_expr"):
        if name not in changes:
            raise BadInputError(
                f"there is no schedule {printable(arguments.name)} yet, and {_OPTION_OF[name]} is missing for a new one"
            )
    return changes | {"organization_id": arguments.organization_id, "is_active": not arguments.is_paused}


def _printing(
    schedule: ScheduleRecord | None, arguments: argparse.Namespace, *, failure: str | None = None
) -> _Print | None:
    if schedule is None:
        return None
    if arguments.json:
        document = _document(schedule, arguments) | ({} if failure is None else {"failure": failure})
        return lambda: print_json(document)
    return lambda: _print(schedule, arguments, failure)


def _no_such_schedule(name: str, place: Place) -> CommandError:
    return CommandError(
        f"there is no schedule {printable(name)} in schema {place.schema} at {place.database.description}; "
        "`runledger schedule list` lists those that there are"
    )


def _print_all(schedules: list[ScheduleRecord]) -> None:
    rows = [
        (
            printable(schedule.name),
            _state(schedule),
            describe_instant(schedule.next_fire_at) if schedule.is_active else "-",
            "never" if schedule.last_fired_at is None else describe_instant(schedule.last_fired_at),
            printable(schedule.job_type),
            printable(schedule.cron_expr),
            printable(schedule.timezone),
        )
        for schedule in schedules
    ]
    head = ("name", "state", "next fire", "last fire", "type", "expression", "time zone")
    print_columns([head, *rows] if rows else [("none",)])


def _print(schedule: ScheduleRecord, arguments: argparse.Namespace, failure: str | None) -> None:
    print(f"Schedule {printable(schedule.name)}\n")
    rows = [
        ("state:", _state(schedule)),
        ("type:", printable(schedule.job_type)),
        ("expression:", printable(schedule.cron_expr)),
        ("time zone:", printable(schedule.timezone)),
        ("next fire:", describe_instant(schedule.next_fire_at)),
        ("last fire:", "never" if schedule.last_fired_at is None else describe_instant(schedule.last_fired_at)),
        ("last job:", "none" if schedule.last_job_id is None else str(schedule.last_job_id)),
        ("jitter:", describe_duration(schedule.max_jitter)),
        ("catch-up:", _described_catch_up(schedule)),
        ("overlap:", schedule.overlap),
        ("organization:", "none" if schedule.organization_id is None else str(schedule.organization_id)),
        ("owner:", _described_owner(schedule)),
    ]
    if schedule.deferred_due_at is not None:
        rows.append(("waits since:", describe_instant(schedule.deferred_due_at)))
    if failure is not None:
        rows.append(("failure:", failure))
    if arguments.show_payload:
        rows.append(("payload:", printable(schedule.payload_template_json)))
    print_columns(rows)
    if not schedule.is_active:
        print(f"\n{_PAUSED}")


def _state(schedule: ScheduleRecord) -> str:
    if schedule.absent_since is not None:
        return "absent"
    if not schedule.is_active:
        return "paused"
    return "failing" if schedule.deferred_due_at is not None else "active"


def _described_catch_up(schedule: ScheduleRecord) -> str:
    if schedule.catch_up is CatchUp.ALL:
        return f"{schedule.catch_up}, up to {schedule.catch_up_limit}"
    return schedule.catch_up


def _described_owner(schedule: ScheduleRecord) -> str:
    if schedule.owner is ScheduleOwner.CATALOG:
        return f"catalog {printable(schedule.catalog_scope or '')}"
    return schedule.owner


def _payload_template(schedule: ScheduleRecord) -> JsonValue:
    return decoded(
        lambda: schedule.payload_template,
        what=f"the payload of schedule {printable(schedule.name)}",
        remedy="leave --json or --show-payload out, or set another one with --payload",
    )


def _document(schedule: ScheduleRecord, arguments: argparse.Namespace) -> dict[str, object]:
    document: dict[str, object] = {"state": _state(schedule)}
    for field in fields(schedule):
        value = getattr(schedule, field.name)
        if field.name == "max_jitter":
            document["max_jitter_seconds"] = int(value.total_seconds())
        elif field.name == "payload_template_json":
            if arguments.show_payload:
                document["payload_template"] = _payload_template(schedule)
        elif isinstance(value, datetime):
            document[field.name] = describe_instant(value)
        else:
            document[field.name] = value if value is None or isinstance(value, bool | int | str) else str(value)
    return document
