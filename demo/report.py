"""The workflow of the demonstration: a report over the packages of the standard library, released by a person."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from demo.measuring import measure, standard_library_packages
from runledger import JobFailure, JobRegistry
from runledger.core import Workflow, WorkflowAppend
from runledger.runtime import ThreadJobContext

APPROVAL = "approve"

_DISCOVER = "demo.discover_packages"
_SUM_UP = "demo.sum_up_package"
_MERGE = "demo.merge_sums"
_PUBLISH = "demo.publish_report"


class Discover(TypedDict):
    """The payload of the first step: packages that are no part of the standard library."""

    more_packages: dict[str, list[str]]


class SumUp(TypedDict):
    """The payload of the step of a package."""

    paths: list[str]


def report_workflow(poison: Path) -> Workflow:
    """Return the workflow: one step, which adds the others when it has seen what there is to do."""
    flow = Workflow("demo.report")
    flow.job("discover", _DISCOVER, Discover(more_packages={"poison": [str(poison)]}))
    return flow


def register_report(registry: JobRegistry) -> None:
    """Register the handlers of the steps."""

    @registry.job(_DISCOVER)
    def discover(context: ThreadJobContext, payload: Discover) -> int:
        packages = standard_library_packages() | payload["more_packages"]
        context.append_steps(_report_on(packages, context))
        return len(packages)

    @registry.job(_SUM_UP, max_attempts=3)
    def sum_up(_context: ThreadJobContext, payload: SumUp) -> dict[str, int]:
        try:
            sizes = [measure(Path(path).read_bytes()) for path in payload["paths"]]
        except SyntaxError as error:
            raise JobFailure.terminal("source.unparsable", f"line {error.lineno}: {error.msg}") from error
        return {
            "modules": len(sizes),
            "lines": sum(size.line_count for size in sizes),
            "functions": sum(size.function_count for size in sizes),
        }

    @registry.job(_MERGE)
    def merge(context: ThreadJobContext, _payload: None) -> dict[str, int]:
        sums = context.prerequisite_outputs().values()
        # A package that could not be summed up has put out nothing.
        known = [output for output in sums if isinstance(output, dict)]
        return {"packages": len(known), "lines": sum(_whole(output["lines"]) for output in known)}

    @registry.job(_PUBLISH)
    def publish(context: ThreadJobContext, _payload: None) -> None:
        outputs = context.prerequisite_outputs()
        approval, total = outputs[APPROVAL], outputs["merge"]
        assert isinstance(approval, dict)  # noqa: S101 (as main.py completes it)
        assert isinstance(total, dict)  # noqa: S101 (as merge returns it)
        with context.transaction() as connection:
            connection.execute(
                "INSERT INTO reports (job_id, package_count, line_count, approved_by) VALUES (%s, %s, %s, %s)",
                [context.job_id, total["packages"], total["lines"], approval["by"]],
            )


def _report_on(packages: dict[str, list[str]], context: ThreadJobContext) -> WorkflowAppend:
    more = WorkflowAppend()
    discovered = more.this_step(context)
    sums = [
        more.job(f"sum-up-{name}", _SUM_UP, SumUp(paths=paths), after=discovered) for name, paths in packages.items()
    ]
    # Their end will do: a package that cannot be parsed must not keep the report from the others.
    merged = more.job("merge", _MERGE, after_terminal=sums)
    approved = more.gate(APPROVAL, after=merged)
    more.job("publish", _PUBLISH, after=[merged, approved])
    return more


def _whole(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 (as sum_up returns it)
    return value
