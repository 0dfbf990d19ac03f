"""What matters of a run as rows of words: gates that wait, steps whose jobs wait, and what went wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from runledger.cli.story import Table
from runledger.cli.times import describe_duration
from runledger.core import EnqueuedStep, WorkflowStepRecord
from runledger.core.printable import shortened

MAX_ROWS = 20
"""So many rows a table has at most."""


def gate_table(gates: Sequence[WorkflowStepRecord], now: datetime) -> Table:
    """Return the gates that wait, and for how long."""
    rows = [
        (shortened(gate.step_key), "" if gate.released_at is None else describe_duration(now - gate.released_at))
        for gate in gates[:MAX_ROWS]
    ]
    if len(gates) > MAX_ROWS:
        rows.append((f"and {len(gates) - MAX_ROWS:,} more", ""))
    return Table(title="Waits for somebody", columns=("gate", "for"), rows=rows)


def enqueued_table(enqueued: Sequence[EnqueuedStep], steps: Sequence[WorkflowStepRecord], now: datetime) -> Table:
    """Return why enqueued steps wait, those that nobody may take first; steps that wait for the same are one row.

    The job is that of the step that is due first.
    """
    key_of = {step.id: step.step_key for step in steps}
    alike: dict[tuple[bool, str, bool, str], list[EnqueuedStep]] = defaultdict(list)
    for step in sorted(enqueued, key=lambda step: step.next_run_at):
        obstacles = _obstacles(step)
        alike[obstacles == "", _attempts(step), step.next_run_at <= now, obstacles].append(step)
    rows = [
        (
            _named([key_of[step.step_id] for step in together]),
            "; ".join(part for part in (attempts, _due(together, now), obstacles) if part),
            str(together[0].job_id),
        )
        for (_, attempts, _, obstacles), together in sorted(alike.items(), key=lambda item: item[0][0])[:MAX_ROWS]
    ]
    if len(alike) > MAX_ROWS:
        rows.append((f"and {len(alike) - MAX_ROWS:,} other reasons", "", ""))
    return Table(title="Waits to run", columns=("step", "why", "job"), rows=rows)


def failure_table(failures: Sequence[WorkflowStepRecord]) -> Table:
    """Return what went wrong, in the order of the rows; the same error of many steps is one row."""
    alike: dict[tuple[str, str, str, str], list[WorkflowStepRecord]] = defaultdict(list)
    for step in failures:
        code, message = shortened(step.last_error_code or ""), shortened(step.last_error_message or "")
        alike[step.status, given_reason(step), code, message].append(step)
    rows = [
        (_named([step.step_key for step in steps]), status, str(steps[0].job_id or ""), reason, code, message)
        for (status, reason, code, message), steps in list(alike.items())[:MAX_ROWS]
    ]
    if len(alike) > MAX_ROWS:
        rows.append((f"and {len(alike) - MAX_ROWS:,} other errors", "", "", "", "", ""))
    columns = ("step", "status", "job", "reason", "code", "message")
    return Table(title="What went wrong", columns=columns, rows=rows)


def given_reason(step: WorkflowStepRecord) -> str:
    """Return why a step is where it is, safe to print; nothing where the status says as much."""
    return "" if step.status_reason in {None, step.status.value} else shortened(step.status_reason or "")


def _attempts(step: EnqueuedStep) -> str:
    if step.attempt == 0:
        return ""
    code = "" if step.last_error_code is None else f" ({shortened(step.last_error_code)})"
    return f"attempt {step.attempt} of {step.max_attempts} failed{code}"


def _due(together: Sequence[EnqueuedStep], now: datetime) -> str:
    first = together[0].next_run_at
    words = "the first due" if len(together) > 1 else "due"
    if first <= now:
        return f"{words} for {describe_duration(now - first)}"
    return f"{words}{' again' if together[0].attempt else ''} in {describe_duration(first - now)}"


def _obstacles(step: EnqueuedStep) -> str:
    """Say what keeps every worker from taking it, though it is due."""
    job_type = shortened(step.job_type)
    obstacles = [f"type {job_type} is paused"] if step.is_type_paused else []
    if not step.is_type_served:
        obstacles.append(f"no live worker serves {job_type}")
    return "; ".join(obstacles)


def _named(step_keys: Sequence[str]) -> str:
    first = shortened(step_keys[0])
    return first if len(step_keys) == 1 else f"{first} and {len(step_keys) - 1:,} more"
