"""Steps per second of workflows, beside the plain drain; and what a step costs in runs of growing size."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from benchmarks.agreement import check_ledger
from benchmarks.server import fresh_database
from benchmarks.throughput import enqueue_and_drain
from benchmarks.workload import JOB_TYPE, PAYLOAD, drain, prepare
from runledger import Database, SyncLedger
from runledger.core import Workflow, WorkflowRunEnqueue
from runledger.embedded import EmbeddedServer

_CHAIN_LENGTH = 4
_FAN_WIDTH = 1_000


def measure_workflows(server: EmbeddedServer, *, chains: int, fans: int, diamonds: int) -> dict[str, float]:
    """Drain chains of four, fans of a thousand with their fan-in, and diamonds; each in a database of its own.

    Beside each shape as many plain jobs are drained, so that both meet the same moods of the machine.
    """
    steps_per_s: dict[str, float] = {}
    total_steps, total_seconds, plain_seconds = 0, 0.0, 0.0
    shapes = {
        "chain": [chain_of(_CHAIN_LENGTH)] * chains,
        "fan": [fan_of(_FAN_WIDTH)] * fans,
        "diamond": [diamond()] * diamonds,
    }
    for name, requests in shapes.items():
        steps = sum(len(request.steps) for request in requests)
        seconds = drain_runs(server, requests)
        steps_per_s[f"{name}_steps_per_s"] = steps / seconds
        total_steps += steps
        total_seconds += seconds
        with fresh_database(server) as url:
            plain_seconds += enqueue_and_drain(url, steps)[1]
    return {
        **steps_per_s,
        "workflow_steps_per_s": total_steps / total_seconds,
        "workflow_to_plain_ratio": plain_seconds / total_seconds,
    }


def measure_fanout_growth(server: EmbeddedServer, widths: Sequence[int]) -> dict[str, float]:
    """Drain fans of growing width, and return how much dearer a step of the dearest is than one of the narrowest."""
    costs = [drain_runs(server, [fan_of(width)]) / (width + 2) for width in widths]
    return {
        "fanout_step_us": 1_000_000 * costs[-1],
        "fanout_growth_ratio": max(costs) / costs[0],
    }


def drain_runs(server: EmbeddedServer, requests: Sequence[WorkflowRunEnqueue]) -> float:
    """Enqueue runs, carry all of them out in one worker, and return the seconds from first claim to last outcome."""
    steps = sum(len(request.steps) for request in requests)
    with fresh_database(server) as url:
        with SyncLedger.connect(url) as ledger:
            prepare(ledger)
            for request in requests:
                ledger.enqueue_workflow(request)
        seconds = asyncio.run(drain(Database(url), steps))
        check_ledger(url, succeeded=steps)
        _check_runs(url, succeeded=len(requests))
    return seconds


def chain_of(length: int) -> WorkflowRunEnqueue:
    """Return steps that wait for each other, one after the other."""
    flow = Workflow("benchmark.chain")
    last = flow.job("0", JOB_TYPE, PAYLOAD)
    for number in range(1, length):
        last = flow.job(str(number), JOB_TYPE, PAYLOAD, after=last)
    return flow.build()


def fan_of(width: int) -> WorkflowRunEnqueue:
    """Return one step, so many that wait for it, and one that waits for all of them."""
    flow = Workflow("benchmark.fan")
    first = flow.job("first", JOB_TYPE, PAYLOAD)
    branches = [flow.job(str(number), JOB_TYPE, PAYLOAD, after=first) for number in range(width)]
    flow.job("last", JOB_TYPE, PAYLOAD, after=branches)
    return flow.build()


def diamond() -> WorkflowRunEnqueue:
    """Return a fan of two."""
    return fan_of(2)


def _check_runs(url: str, *, succeeded: int) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM runledger.workflow_runs WHERE status = 'SUCCEEDED'").fetchone()
    if row != (succeeded,):
        raise RuntimeError(f"expected {succeeded} runs that succeeded; the ledger has {row}")
