"""The benchmarks work: each part, in sizes that measure nothing."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import measure
from benchmarks.agreement import check_ledger
from benchmarks.figures import FIGURES, markdown_table
from benchmarks.parts import PARTS
from benchmarks.resident_memory import resident_bytes
from benchmarks.server import measured_server
from benchmarks.sizes import Sizes
from benchmarks.workload import enqueue
from runledger.testing import EphemeralDatabase

_TINY = Sizes(
    drain_rounds=1,
    drain_jobs=20,
    wal_jobs=20,
    comparison_rounds=1,
    comparison_jobs=20,
    transaction_jobs=20,
    single_enqueues=5,
    large_drain_jobs=20,
    two_worker_jobs=20,
    latency_samples=2,
    half_load_capacity_jobs=200,
    half_load_seconds=0.1,
    held_waiting_jobs=20,
    held_churned_jobs=20,
    held_claims=3,
    idle_seconds=0.1,
    memory_jobs=50,
    memory_wave_jobs=10,
    memory_enqueues=50,
    workflow_chains=2,
    workflow_fans=1,
    workflow_diamonds=2,
    fanout_widths=(3, 6),
    finished_jobs=1_000,
    admin_rounds=1,
)

_PERFORMANCE_PAGE = Path(__file__).parents[2] / "docs/explanation/performance.md"


@pytest.mark.slow
@pytest.mark.skipif(resident_bytes() is None, reason="memory is read from /proc")
def test_every_part_runs_and_together_they_give_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with measured_server(durable=False) as server:
        figures = measure(server, list(PARTS), _TINY, shows_statements=True)

    assert figures.keys() == FIGURES.keys()
    assert all(math.isfinite(value) for value in figures.values()), figures
    costs = capsys.readouterr().err
    for file in ("claim_jobs", "complete_jobs", "enqueue_jobs", "enqueue_keyed_jobs", "fail_jobs"):
        assert f"jobs/{file}.sql" in costs


def test_page_on_performance_states_every_figure() -> None:
    stated = re.findall(r"^\|.*\| `(\w+)` \|", _PERFORMANCE_PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert stated == list(FIGURES)


def test_table_has_units_digits_and_bounds() -> None:
    table = markdown_table({"drain_jobs_per_s": 21_229.6, "latency_p50_ms": 2.1})

    assert table.splitlines()[2:] == [
        "| jobs drained per second | `drain_jobs_per_s` | 21,230 | ≥ 12,000 |",
        "| commit to handler start at rest, median | `latency_p50_ms` | 2.10 ms | ≤ 3 |",
    ]


def test_drain_that_left_a_job_gives_no_figure(runledger_database: EphemeralDatabase) -> None:
    enqueue(runledger_database.url, 1)

    with pytest.raises(RuntimeError, match="the ledger has"):
        check_ledger(runledger_database.url, succeeded=1)
