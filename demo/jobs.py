"""The jobs of the demonstration and their handlers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TypedDict
from zlib import crc32

from demo.measuring import measure
from demo.report import register_report
from runledger import JobFailure, JobRegistry
from runledger.runtime import RunningJobContext

MEASURE_MODULE = "demo.measure_module"

_FLAKY_SHARE = 12


class MeasureModule(TypedDict):
    """The payload of a job."""

    module: str
    path: str


def is_flaky(module: str) -> bool:
    """Whether the first attempt at a module meets a busy disk. Decided by its name, so that each run is the same."""
    return crc32(module.encode()) % _FLAKY_SHARE == 0


def make_registry() -> JobRegistry:
    """Return the handlers."""
    registry = JobRegistry()
    register_report(registry)

    # A plain function: parsing is work for a processor, so it runs in a thread and leaves the event loop alone.
    @registry.job(MEASURE_MODULE, max_attempts=5, timeout=timedelta(seconds=30))
    def measure_module(context: RunningJobContext, payload: MeasureModule) -> None:
        if is_flaky(payload["module"]) and context.attempt == 1:
            raise JobFailure.retryable("disk.busy", "the disk did not answer in time", retry_in=timedelta(seconds=1))
        try:
            size = measure(Path(payload["path"]).read_bytes())
        except SyntaxError as error:
            raise JobFailure.terminal("source.unparsable", f"line {error.lineno}: {error.msg}") from error
        # One commit writes the row and finishes the job. A worker that dies before it has written neither, so the
        # insert needs no provision for a row that is there already.
        with context.transaction() as connection:
            connection.execute(
                """
                INSERT INTO module_sizes (module, job_id, line_count, function_count, class_count, import_count)
                VALUES (%s, %s, %s, %s, %s, %s)
                """,
                [
                    payload["module"],
                    context.job_id,
                    size.line_count,
                    size.function_count,
                    size.class_count,
                    size.import_count,
                ],
            )
            context.set_output({"line_count": size.line_count})

    return registry
