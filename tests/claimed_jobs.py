"""Claimed jobs that no database knows, for tests of what a worker does with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from runledger.core import ClaimedJob

NOON = datetime(2026, 5, 26, 12, tzinfo=UTC)


def claimed_job(**members: Any) -> ClaimedJob:
    """Return a job that was claimed at noon for a minute, with the given members."""
    usual: dict[str, Any] = {
        "job_id": uuid4(),
        "job_type": "email.send",
        "organization_id": None,
        "payload_json": "null",
        "run_number": 1,
        "attempt": 1,
        "max_attempts": 8,
        "timeout_seconds": 60,
        "priority": 100,
        "next_run_at": NOON,
        "checkpoint_json": None,
        "worker_id": "worker-1",
        "leased_at": NOON,
        "lease_expires_at": NOON + timedelta(minutes=1),
    }
    return ClaimedJob(**usual | members)
