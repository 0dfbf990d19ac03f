"""``runledger workers``."""

from __future__ import annotations

import argparse
import dataclasses
from datetime import UTC, datetime
from uuid import UUID

from runledger.cli.failures import DONE
from runledger.cli.json_text import print_json
from runledger.cli.place import Place, open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_duration, describe_instant
from runledger.core import WorkerRecord
from runledger.core.printable import printable, shortened

_COLUMNS = ("worker", "state", "host", "pid", "version", "slots", "started", "last heard of", "types")
_PAGE = 1_000


def run(arguments: argparse.Namespace) -> int:
    """Print the workers that live, and those that died lately."""
    with open_place(arguments) as place:
        found = _read(place)
        if arguments.json:
            print_json({"workers": [_document(worker) for worker in found]}, default=_encode)
        elif found:
            now = datetime.now(UTC)
            print_columns([_COLUMNS, *(_row(worker, now) for worker in found)])
        else:
            print(f"no worker runs in schema {place.schema} at {place.database.description}")
    return DONE


def _read(place: Place) -> list[WorkerRecord]:
    found: list[WorkerRecord] = []
    with place.connect() as ledger:
        while page := ledger.list_workers(after_worker_id=found[-1].worker_id if found else None, limit=_PAGE):
            found += page
    return found


def _row(worker: WorkerRecord, now: datetime) -> tuple[str, ...]:
    return (
        printable(worker.worker_id),
        _state(worker),
        printable(worker.hostname),
        str(worker.process_id),
        printable(worker.version),
        str(worker.slots),
        f"{describe_duration(now - worker.started_at)} ago",
        f"{describe_duration(now - worker.heartbeat_at)} ago",
        shortened(", ".join(worker.job_types)),
    )


def _state(worker: WorkerRecord) -> str:
    if not worker.is_live:
        return "dead"
    return "live" if worker.stopping_at is None else "stopping"


def _document(worker: WorkerRecord) -> dict[str, object]:
    return {"state": _state(worker), **dataclasses.asdict(worker)}


def _encode(value: object) -> object:
    match value:
        case datetime():
            return describe_instant(value)
        case UUID():
            return str(value)
        case _:
            raise TypeError(type(value).__name__)
