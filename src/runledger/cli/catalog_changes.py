"""What the sync of a catalog makes of job types and schedules that exist, setting by setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from runledger.cli.times import describe_duration
from runledger.client import SyncLedger
from runledger.core import Admin, CatalogDeclaration, JobDefinition, ScheduleRecord
from runledger.core.printable import printable

_ADMIN = Admin()
_OF_TYPES = {"max_attempts": "attempts", "default_timeout": "timeout", "default_priority": "priority"}
_OF_SCHEDULES = {
    "job_type": "type",
    "cron_expr": "expression",
    "timezone": "time zone",
    "max_jitter": "jitter",
    "catch_up": "catch-up",
    "catch_up_limit": "catch-up limit",
    "overlap": "overlap",
    "organization_id": "organization",
    "is_active": "active",
    "payload_template": "payload",
}
# Its values may be secret.
_UNTOLD = "payload_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """A setting that is another than before.

    Attributes:
        setting: Its name in the ledger.
        label: Its name for people.
        before: What it was; ``None`` for a payload.
        after: What it is; ``None`` for a payload.
    """

    setting: str
    label: str
    before: Any
    after: Any

    def described(self) -> str:
        """Return the change for people: ``priority 7 -> 100``."""
        if self.setting == _UNTOLD:
            return self.label
        return f"{self.label} {_shown(self.before)} -> {_shown(self.after)}"

    def document(self) -> dict[str, object]:
        """Return the change for programs."""
        return {"setting": self.setting, "before": _plain(self.before), "after": _plain(self.after)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored of that which a catalog declares.

    Attributes:
        types: Its job types.
        schedules: Its schedules.
    """

    types: dict[str, JobDefinition]
    schedules: dict[str, ScheduleRecord]


def read_stored(ledger: SyncLedger, declaration: CatalogDeclaration, connection: Any) -> Stored:  # noqa: ANN401 (the driver's)
    """Read what there is in a transaction, before or after its sync."""
    types = [
        ledger.get_job_definition(definition.job_type, connection=connection) for definition in declaration.definitions
    ]
    schedules = [
        ledger.get_schedule(schedule.name, scope=_ADMIN, connection=connection) for schedule in declaration.schedules
    ]
    return Stored(
        types={one.job_type: one for one in types if one is not None},
        schedules={one.name: one for one in schedules if one is not None},
    )


def changes_of_types(before: Stored, after: Stored, names: Iterable[str]) -> dict[str, list[SettingChange]]:
    """Return what changed of job types, by their names."""
    return {name: _changes(before.types.get(name), after.types.get(name), _OF_TYPES) for name in names}


def changes_of_schedules(before: Stored, after: Stored, names: Iterable[str]) -> dict[str, list[SettingChange]]:
    """Return what changed of schedules, by their names."""
    return {name: _changes(before.schedules.get(name), after.schedules.get(name), _OF_SCHEDULES) for name in names}


def _changes(before: object | None, after: object | None, labels: dict[str, str]) -> list[SettingChange]:
    if before is None or after is None:  # somebody else has made it in between, or the catalog has given it up
        return []
    changed: list[SettingChange] = []
    for setting, label in labels.items():
        attribute = "payload_template_json" if setting == _UNTOLD else setting  # as text: Python may not read it
        was, becomes = getattr(before, attribute), getattr(after, attribute)
        if was != becomes:
            if setting == _UNTOLD:
                was = becomes = None
            changed.append(SettingChange(setting=setting, label=label, before=was, after=becomes))
    return changed


def _shown(value: object) -> str:
    if isinstance(value, timedelta):
        return describe_duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else printable(str(value))


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, bool | int) else str(value)
