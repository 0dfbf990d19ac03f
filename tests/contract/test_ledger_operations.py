"""Which operations the ledgers offer, and why not the others."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping

import pytest

from runledger.client import Ledger
from runledger.postgres import admin, catalogs, jobs, schedules, workflows
from tools.sync_ledger import CLIENT, MODULES

_WORKERS_OWN = "a set in one statement that skips locked rows; what it leaves out needs the care of a worker"
_SETTLING = "settles what a worker does not know about its own leases; a loop without it is repaired by the reaper"

NOT_ON_THE_LEDGER: Mapping[str, str] = {
    "claim_batch": "a claim that goes on where another one ended, for who claims again and again",
    "complete_jobs": _WORKERS_OWN,
    "fail_jobs": _WORKERS_OWN,
    "update_progress_of_jobs": _WORKERS_OWN,
    "renew_leases": _WORKERS_OWN + "; a HEARTBEAT event is what single renewals leave",
    "heartbeat_worker": "the heartbeat of a worker that has registered itself",
    "return_claims": "believes the holder that it called no handler; the ledger offers the release that is checked",
    "list_due_job_ids": "looks for the one job that makes a claim of many fail",
    "list_worker_leases": _SETTLING,
    "read_held_leases": _SETTLING,
    "read_canceled_leases": _SETTLING,
    "read_attempt_outcomes": _SETTLING,
    "confirm_attempt_outcome": _SETTLING,
    "append_workflow_steps_of_job": "what a handler appends goes through its context",
    "read_prerequisites": "what a handler reads goes through its context",
    "fire_due_schedules": "the pass of a scheduler, which sleeps until the next one",
    "read_next_fire": "how long a scheduler sleeps",
    "sync_catalog_schedules": "sync_catalog does this for schedules and job types together",
}

LEDGER_METHODS = """
    activate_schedule append_workflow_steps cancel_job cancel_workflow_run check_schema claim_jobs claim_prestart_jobs
    close compare_and_requeue_job complete_gate complete_job_failure complete_job_success connect count_jobs
    delete_runtime_config delete_schedule edit_job_payload enqueue enqueue_many enqueue_workflow ensure_job_definitions
    find_newest_event_cursor get_dead_letter get_job get_job_by_idempotency_key get_job_definition get_job_metrics
    get_job_payload_by_idempotency_key get_job_summaries get_latest_job_payload_for_run get_latest_workflow_run
    get_required_runtime_config get_runtime_config get_schedule get_workflow_run get_workflow_run_by_idempotency_key
    get_workflow_run_id_for_job heartbeat_job insert_job_logs insert_runtime_config_if_missing list_dead_letters
    list_enqueued_workflow_steps list_job_attempts list_job_definitions list_job_events list_job_logs list_jobs
    list_runtime_configs list_schedules list_workers list_workflow_runs list_workflow_step_dependencies
    list_workflow_step_keys_for_update list_workflow_steps migrate pause_job_type pause_schedule read_events_after
    reap_expired_leases release_unstarted_job_claim requeue_job resume_job_type runtime_config set_schedule_next_fire
    sync_catalog tail_events transaction update_job_definition update_job_payload_uuid_array_field update_job_progress
    update_schedule update_workflow_step_payload upsert_job_definitions upsert_runtime_config upsert_schedule
    workflow_run
"""


PACKAGES = {"catalogs": catalogs, "jobs": jobs, "admin": admin, "schedules": schedules, "workflows": workflows}


def operations() -> set[str]:
    return {
        name
        for package in PACKAGES.values()
        for name in package.__all__
        if not isinstance(getattr(package, name), type)
    }


def operations_of_the_ledger() -> set[str]:
    """Return the operations that the ledger's modules call."""
    return set[str]().union(*(_operations_called_in(module) for module in _modules()))


def _modules() -> Iterator[ast.Module]:
    for module in MODULES:
        yield ast.parse(CLIENT.joinpath(f"{module}.py").read_text(encoding="utf-8"))


def _operations_called_in(tree: ast.AST) -> set[str]:
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in PACKAGES
        and node.func.attr in operations()
    }


def operations_of_methods() -> dict[str, set[str]]:
    """Return the operations that each method of the ledger calls, where it calls one."""
    return {
        function.name: called
        for module in _modules()
        for function in ast.walk(module)
        if isinstance(function, ast.AsyncFunctionDef)
        and hasattr(Ledger, function.name)
        and (called := _operations_called_in(function))
    }


def _told_codes(documented: object, others: Mapping[str, object]) -> set[str]:
    """Return the codes in the part of a docstring about errors, and those of what it refers to there."""
    raises = (inspect.getdoc(documented) or "").partition("\nRaises:\n")[2]
    codes = set(re.findall(r"``([a-z_]+\.[a-z_]+)``", raises)) - {"error.field"}
    for name in re.findall(r":(?:meth|func):`(?:[\w~.]*\.)?(\w+)`", raises):
        if name in others and others[name] is not documented:
            codes |= _told_codes(others[name], others)
    return codes


@pytest.mark.parametrize("operation", sorted(operations()))
def test_an_operation_is_on_the_ledger_or_has_a_reason_not_to_be(operation: str) -> None:
    assert (operation in operations_of_the_ledger()) != (operation in NOT_ON_THE_LEDGER)


def test_only_operations_have_reasons() -> None:
    assert set(NOT_ON_THE_LEDGER) <= operations()


def test_the_ledger_offers_the_methods_of_this_list_and_no_others() -> None:
    """A change here is a change for applications: it needs a line in the changelog."""
    assert sorted(name for name in dir(Ledger) if not name.startswith("_")) == sorted(LEDGER_METHODS.split())


@pytest.mark.parametrize(("method", "called"), sorted(operations_of_methods().items()))
def test_a_method_tells_of_every_code_that_its_operations_tell_of(method: str, called: set[str]) -> None:
    all_operations = {name: getattr(package, name) for package in PACKAGES.values() for name in package.__all__}
    methods = {name: getattr(Ledger, name) for name in LEDGER_METHODS.split()}
    expected = set[str]().union(*(_told_codes(all_operations[name], all_operations) for name in called))
    assert sorted(expected - _told_codes(methods[method], methods)) == []


def test_the_codes_of_these_methods_are_compared() -> None:
    """That of a batch refers to that of one request, and that of a failure to that of a success."""
    assert {"cancel_job", "complete_job_failure", "enqueue_many"} <= operations_of_methods().keys()
