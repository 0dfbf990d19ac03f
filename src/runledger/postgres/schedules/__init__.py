"""Operations on schedules: upsert, update, read, pause, activate, set the next fire, delete, sync a catalog, fire."""

from runledger.postgres.schedules.catalog import AbsentSchedules, CatalogSync, sync_catalog_schedules
from runledger.postgres.schedules.control import (
    activate_schedule,
    delete_schedule,
    pause_schedule,
    set_schedule_next_fire,
)
from runledger.postgres.schedules.firing import (
    DeferredSchedule,
    FiredSchedule,
    FireResult,
    fire_due_schedules,
    read_next_fire,
)
from runledger.postgres.schedules.reads import get_schedule, list_schedules
from runledger.postgres.schedules.update import update_schedule
from runledger.postgres.schedules.upsert import upsert_schedule

__all__ = [
    "AbsentSchedules",
    "CatalogSync",
    "DeferredSchedule",
    "FireResult",
    "FiredSchedule",
    "activate_schedule",
    "delete_schedule",
    "fire_due_schedules",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "read_next_fire",
    "set_schedule_next_fire",
    "sync_catalog_schedules",
    "update_schedule",
    "upsert_schedule",
]
