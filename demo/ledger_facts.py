"""What the ledger says about a run. Every fact is a SELECT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the jobs stand now."""

    total: int
    pending: int
    leased: int
    succeeded: int
    dead_lettered: int
    retries: int
    recovered: int

    @property
    def finished(self) -> int:
        """Jobs that need nothing any more."""
        return self.succeeded + self.dead_lettered


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A promise, and whether the ledger bears it out."""

    promise: str
    evidence: str
    holds: bool


def read_progress(connection: Connection) -> Progress:
    """Count the jobs by status, and what happened on the way."""
    row = _one(
        connection,
        """
        SELECT count(*), count(*) FILTER (WHERE status = 'PENDING'), count(*) FILTER (WHERE status = 'LEASED'),
               count(*) FILTER (WHERE status = 'SUCCEEDED'), count(*) FILTER (WHERE status = 'DEAD_LETTERED'),
               (SELECT count(*) FROM runledger.job_attempts WHERE outcome = 'RETRYABLE'),
               (SELECT count(*) FROM runledger.job_attempts WHERE outcome = 'LEASE_EXPIRED')
          FROM runledger.job_queue
        """,
    )
    names = ("total", "pending", "leased", "succeeded", "dead_lettered", "retries", "recovered")
    return Progress(**dict(zip(names, row, strict=True)))


def held_count(connection: Connection, worker_id: str) -> int:
    """Count the jobs that a worker holds now."""
    return _one(
        connection,
        "SELECT count(*) FROM runledger.job_queue WHERE status = 'LEASED' AND worker_id = %(worker)s",
        worker=worker_id,
    )[0]


def check_promises(connection: Connection, *, killed_worker: str) -> list[Check]:
    """Compare the ledger with what Runledger promises."""
    progress = read_progress(connection)
    batch = _one(connection, "SELECT id, module_count FROM module_batches")
    attempts = _one(
        connection, "SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL) FROM runledger.job_attempts"
    )
    recovered = _one(
        connection,
        """
        SELECT count(DISTINCT a.job_id), count(DISTINCT a.job_id) FILTER (WHERE q.status = 'SUCCEEDED')
          FROM runledger.job_attempts AS a JOIN runledger.job_queue AS q ON q.id = a.job_id
         WHERE a.worker_id = %(worker)s AND a.outcome = 'LEASE_EXPIRED'
        """,
        worker=killed_worker,
    )
    stored = _one(
        connection,
        """
        SELECT count(*), count(DISTINCT s.module), count(*) FILTER (WHERE q.status = 'SUCCEEDED'),
               coalesce(sum(s.line_count), 0), count(*) FILTER (WHERE s.xmin = q.xmin)
          FROM module_sizes AS s LEFT JOIN runledger.job_queue AS q ON q.id = s.job_id
        """,
    )
    successes = _one(
        connection,
        "SELECT count(*), count(DISTINCT job_id) FROM runledger.job_events WHERE event_type = 'SUCCEEDED'",
    )
    return [
        Check(
            promise="The batch and its jobs were committed together",
            evidence=f"batch row says {batch[1]} modules, the queue has {progress.total} jobs",
            holds=batch[1] == progress.total,
        ),
        Check(
            promise="Nothing was lost",
            evidence=f"{progress.succeeded} succeeded + {progress.dead_lettered} dead-lettered, "
            f"{progress.pending + progress.leased} left over",
            holds=progress.finished == progress.total,
        ),
        Check(
            promise="Failures were retried",
            evidence=f"{progress.retries} attempts ended RETRYABLE, {attempts[0]} attempts in all, {attempts[1]} open",
            holds=progress.retries > 0 and attempts[1] == 0,
        ),
        Check(
            promise="The poison file stopped nobody",
            evidence=f"{progress.dead_lettered} job dead-lettered at once, the others went on",
            holds=progress.dead_lettered == 1,
        ),
        Check(
            promise="The killed worker's jobs were recovered",
            evidence=f"it held {recovered[0]} leases that expired; {recovered[1]} of those jobs succeeded elsewhere",
            holds=0 < recovered[0] == recovered[1],
        ),
        Check(
            promise="No job finished twice",
            evidence=f"{successes[0]} SUCCEEDED events for {successes[1]} jobs",
            holds=successes[0] == successes[1] == progress.succeeded,
        ),
        Check(
            promise="Each module is stored once",
            evidence=f"{stored[0]} rows, {stored[1]} modules, {stored[3]:,} lines of code, by a plain INSERT",
            holds=stored[0] == stored[1] == stored[2] == progress.succeeded,
        ),
        Check(
            promise="Row and completion are one commit",
            evidence=f"{stored[4]} rows carry the transaction id of the success of their job",
            holds=stored[4] == progress.succeeded,
        ),
    ]


def check_workflow_promises(connection: Connection, run_id: UUID) -> list[Check]:
    """Compare what the ledger says of the workflow with what Runledger promises."""
    appended = _one(
        connection,
        """
        SELECT count(*), (SELECT count(*) FROM runledger.workflow_run_mutations WHERE workflow_run_id = %(run)s)
          FROM runledger.workflow_steps WHERE workflow_run_id = %(run)s AND step_key <> 'discover'
        """,
        run=run_id,
    )
    order = _one(
        connection,
        """
        SELECT count(*), count(*) FILTER (WHERE dependent.released_at < prerequisite.finished_at)
          FROM runledger.workflow_step_dependencies AS edge
          JOIN runledger.workflow_steps AS dependent ON dependent.id = edge.dependent_step_id
          JOIN runledger.workflow_steps AS prerequisite ON prerequisite.id = edge.prerequisite_step_id
         WHERE edge.workflow_run_id = %(run)s
        """,
        run=run_id,
    )
    branches = _one(
        connection,
        """
        SELECT run.status::text, count(*) FILTER (WHERE step.status = 'FAILED'),
               bool_and(step.status = 'SUCCEEDED') FILTER (WHERE step.step_key IN ('merge', 'publish'))
          FROM runledger.workflow_runs AS run JOIN runledger.workflow_steps AS step ON step.workflow_run_id = run.id
         WHERE run.id = %(run)s
         GROUP BY run.id
        """,
        run=run_id,
    )
    approval = _one(
        connection,
        """
        SELECT (SELECT count(*) FROM approvals), min(approvals.approved_by),
               bool_and(step.output ->> 'by' = approvals.approved_by)
          FROM approvals JOIN runledger.workflow_steps AS step ON step.workflow_run_id = approvals.run_id
         WHERE approvals.run_id = %(run)s AND step.step_key = 'approve'
        """,
        run=run_id,
    )
    report = _one(
        connection,
        """
        SELECT count(*), sum(package_count), sum(line_count)
          FROM reports JOIN runledger.job_queue AS job ON job.id = reports.job_id AND job.xmin = reports.xmin
         WHERE job.status = 'SUCCEEDED'
        """,
    )
    return [
        Check(
            promise="A step added what it found, at once",
            evidence=f"{appended[0]} steps by {appended[1]} append",
            holds=appended[0] > appended[1] == 1,
        ),
        Check(
            promise="No step began too early",
            evidence=f"{order[0]} edges, {order[1]} released before their prerequisite had ended",
            holds=order[0] > 0 == order[1],
        ),
        Check(
            promise="A branch that failed stopped nobody",
            evidence=f"{branches[1]} step failed, the report came; the run ended {branches[0]}",
            holds=branches == ("COMPLETED_WITH_ERRORS", 1, True),
        ),
        Check(
            promise="Approval and gate are one commit",
            evidence=f"{approval[0]} row, by {approval[1]}, as the gate says; the one rolled back left no trace",
            holds=approval[0] == 1 and approval[2],
        ),
        Check(
            promise="The report was published once",
            evidence=f"{report[0]} row, {report[1]} packages, {report[2]:,} lines, in the commit of its step",
            holds=report[0] == 1,
        ),
    ]


def jobs_to_look_at(connection: Connection, *, killed_worker: str) -> list[tuple[str, UUID]]:
    """Pick one job of each story: dead-lettered, recovered, retried."""
    stories: dict[str, tuple[LiteralString, object]] = {
        "the poison file": ("SELECT id FROM runledger.job_queue WHERE status = 'DEAD_LETTERED' LIMIT %s", 1),
        "recovered from the killed worker": (
            "SELECT job_id FROM runledger.job_attempts WHERE worker_id = %s AND outcome = 'LEASE_EXPIRED' LIMIT 1",
            killed_worker,
        ),
        "failed once, then succeeded": (
            "SELECT job_id FROM runledger.job_attempts WHERE outcome = 'RETRYABLE' LIMIT %s",
            1,
        ),
    }
    found: list[tuple[str, UUID]] = []
    for story, (query, parameter) in stories.items():
        row = connection.execute(query, [parameter]).fetchone()
        if row is not None:
            found.append((story, row[0]))
    return found


def _one(connection: Connection, query: LiteralString, **parameters: object) -> tuple[Any, ...]:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None  # noqa: S101 (an aggregate has one row)
    return row
