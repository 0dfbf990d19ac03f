"""Live workers as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """What a worker says of itself.

    Attributes:
        worker_id: Its id, unique among live workers.
        instance_id: The process it runs in: another one for each start of the program, whatever host and pid it gets.
        hostname: The name of its host.
        process_id: The pid there.
        version: The version of Runledger.
        job_types: The types it serves.
        slots: How many jobs it runs at once.
    """

    worker_id: str
    instance_id: UUID
    hostname: str
    process_id: int
    version: str
    job_types: tuple[str, ...]
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord(WorkerIdentity):
    """A row of the table of workers. Instants are of the database's clock.

    Attributes:
        started_at: When it started.
        heartbeat_at: When it was last heard of.
        expires_at: When it is taken for dead unless it is heard of again; one lease time after its last heartbeat.
        stopping_at: When it was first heard of as stopping, or ``None``.
        is_live: Whether ``expires_at`` was in the future when the row was read.
    """

    started_at: datetime
    heartbeat_at: datetime
    expires_at: datetime
    stopping_at: datetime | None
    is_live: bool
