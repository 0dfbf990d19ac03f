"""``python -m benchmarks [PART ...] [--quick] [--json | --markdown] [--statements]``: measure, and print."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Generator, Sequence

from benchmarks.figures import markdown_table, rounded
from benchmarks.latency import POLL_INTERVAL_MS
from benchmarks.parts import NOT_QUICK, PARTS
from benchmarks.server import measured_server, read_settings
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.statements import costs_of_statements
from benchmarks.workload import CLAIM_BATCH_SIZE, SLOTS
from runledger.embedded import EmbeddedServer

_SHOWN_STATEMENTS = 12


def main() -> None:
    """Parse the arguments and run. Progress goes to standard error, so that the output can be read by programs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure, else all: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds; under 90 seconds")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--markdown", action="store_true", help="print the table of docs/explanation/performance.md")
    parser.add_argument(
        "--statements", action="store_true", help="tell on standard error what each part cost the server"
    )
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    parts = [part for part in PARTS if part in arguments.parts]
    if not parts:
        parts = [part for part in PARTS if not (arguments.quick and part in NOT_QUICK)]

    sizes = QUICK if arguments.quick else FULL
    with measured_server() as server:
        figures = measure(server, parts, sizes, shows_statements=arguments.statements)
        state = _state(server, sizes)
    if arguments.json:
        print(json.dumps(figures | state))
    elif arguments.markdown:
        print(markdown_table(figures))
    else:
        _print_list(figures | state)


def measure(
    server: EmbeddedServer, parts: Sequence[str], sizes: Sizes, *, shows_statements: bool = False
) -> dict[str, float]:
    """Run the parts one after the other on one server, and return their figures, rounded."""
    figures: dict[str, float] = {}
    for part in parts:
        started_at = time.perf_counter()
        with _statements_shown(server) if shows_statements else contextlib.nullcontext():
            measured = {name: rounded(name, value) for name, value in PARTS[part](server, sizes).items()}
        print(f"{part} took {time.perf_counter() - started_at:.0f} s: {json.dumps(measured)}", file=sys.stderr)
        figures |= measured
    return figures


@contextlib.contextmanager
def _statements_shown(server: EmbeddedServer) -> Generator[None, None, None]:
    with costs_of_statements(server) as costs:
        yield
        print(f"{'ms':>9} {'calls':>8} {'ms/call':>8} {'rows':>8} {'WAL/row':>8}  statement", file=sys.stderr)
        for cost in costs()[:_SHOWN_STATEMENTS]:
            print(
                f"{cost.milliseconds:9.0f} {cost.calls:8} {cost.milliseconds / cost.calls:8.2f} {cost.rows:8} "
                f"{cost.wal_bytes / max(1, cost.rows):8.0f}  {cost.name}",
                file=sys.stderr,
            )


def _state(server: EmbeddedServer, sizes: Sizes) -> dict[str, object]:
    """What the figures depend on."""
    return {
        "rounds": sizes.drain_rounds,
        "jobs_per_round": sizes.drain_jobs,
        "slots": SLOTS,
        "claim_batch_size": CLAIM_BATCH_SIZE,
        "latency_samples": sizes.latency_samples,
        "poll_interval_ms": POLL_INTERVAL_MS,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "server_settings": read_settings(server.url),
    }


def _print_list(report: dict[str, object]) -> None:
    width = max(len(name) for name in report)
    for name, value in report.items():
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
