"""Who a worker is, and whether the worker that has its id is still alive."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from importlib import metadata
from uuid import UUID

from runledger.core.workers import WorkerIdentity, WorkerRecord
from runledger.postgres.uuid7 import uuid7


def worker_identity(worker_id: str, *, job_types: list[str], slots: int) -> WorkerIdentity:
    """Return what a worker of this process says of itself."""
    return WorkerIdentity(
        worker_id=worker_id,
        instance_id=_instance_of(os.getpid()),
        hostname=socket.gethostname(),
        process_id=os.getpid(),
        version=_installed_version(),
        job_types=tuple(job_types),
        slots=slots,
    )


def is_known_dead(other: WorkerRecord, *, own: WorkerIdentity) -> bool:
    """Whether the process of another worker is sure to be gone, although its row has not expired.

    Only the host it ran on can tell. One that is taken for dead wrongly, since two containers share a host name, finds
    its id taken at its next heartbeat.
    """
    if other.hostname != own.hostname:
        return False
    if other.process_id == own.process_id:
        return other.instance_id != own.instance_id
    with contextlib.suppress(PermissionError):  # it is somebody else's, and alive
        try:
            os.kill(other.process_id, 0)
        except (ProcessLookupError, OverflowError):
            return True
    return False


@functools.cache
def _instance_of(process_id: int) -> UUID:  # noqa: ARG001 (a fork has a pid of its own, and needs an id of its own)
    """Return what tells a process from an earlier one with the same host name and pid, as a container started again."""
    return uuid7()


def _installed_version() -> str:
    try:
        return metadata.version("runledger-pg")
    except metadata.PackageNotFoundError:
        return "unknown"  # from a directory that was not installed
