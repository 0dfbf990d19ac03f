"""A figure counts only when the ledger agrees with it."""

from __future__ import annotations

import psycopg

# ENQUEUED or, of a further attempt, RETRY_SCHEDULED; LEASED; and how it ended. A dead letter has one of its own.
_EVENTS_OF_ATTEMPT = 3

_READ = """
SELECT (SELECT count(*) FROM runledger.job_queue WHERE status = 'SUCCEEDED'),
       (SELECT count(*) FROM runledger.job_queue WHERE status = 'DEAD_LETTERED'),
       (SELECT count(*) FROM runledger.job_attempts WHERE finished_at IS NOT NULL),
       (SELECT count(*) FROM runledger.job_events)
"""


def check_ledger(url: str, *, succeeded: int = 0, dead_lettered: int = 0, retried: int = 0) -> None:
    """Check that these jobs ended so, each attempt with its row, and each move with its event.

    Args:
        url: The database, with no other jobs.
        succeeded: Jobs that succeeded.
        dead_lettered: Jobs that are dead letters.
        retried: Attempts that failed and were followed by another.

    Raises:
        RuntimeError: The ledger has something else.
    """
    attempts = succeeded + dead_lettered + retried
    expected = (succeeded, dead_lettered, attempts, _EVENTS_OF_ATTEMPT * attempts + dead_lettered)
    with psycopg.connect(url) as connection:
        row = connection.execute(_READ).fetchone()
    if row != expected:
        raise RuntimeError(f"expected {expected} succeeded, dead-lettered, attempts and events; the ledger has {row}")
