"""Database errors: how they are classified, and what they show."""

from __future__ import annotations

import pickle

import pytest

from runledger.postgres import QueryError, QueryErrorCategory
from runledger.postgres.sql_errors import CONSTRAINT_CLASSES, ErrorClass, classify, refusal

CONFLICT, VALIDATION = QueryErrorCategory.CONFLICT, QueryErrorCategory.VALIDATION
FORBIDDEN, INTERNAL = QueryErrorCategory.FORBIDDEN, QueryErrorCategory.INTERNAL


def code_of(sqlstate: str | None, constraint: str | None = None) -> tuple[QueryErrorCategory, str]:
    shown = classify(sqlstate, constraint)
    return shown.category, shown.code


@pytest.mark.parametrize(
    ("sqlstate", "category", "code"),
    [
        ("23505", CONFLICT, "db.unique_violation"),
        ("23503", VALIDATION, "db.related_resource_missing"),
        ("23001", VALIDATION, "db.related_resource_still_referenced"),
        ("23514", VALIDATION, "db.business_rule_violation"),
        ("23502", VALIDATION, "db.required_field_missing"),
        ("42501", FORBIDDEN, "db.permission_denied"),
        ("25P02", INTERNAL, "db.transaction_failed"),
        ("42P01", INTERNAL, "db.query_failed"),
        ("40001", INTERNAL, "db.query_failed"),
        ("54000", INTERNAL, "db.query_failed"),
        (None, INTERNAL, "db.query_failed"),
    ],
)
def test_a_sqlstate_has_its_category_and_code(sqlstate: str | None, category: QueryErrorCategory, code: str) -> None:
    """ERR-001."""
    assert code_of(sqlstate) == code_of(sqlstate, "chk_of_the_application") == (category, code)


@pytest.mark.parametrize(
    ("constraint", "category", "code"),
    [
        ("uq_job_queue_type_idempotency_org", CONFLICT, "job.already_enqueued"),
        ("uq_job_queue_type_idempotency_global", CONFLICT, "job.already_enqueued"),
        ("fk_job_queue_job_type", VALIDATION, "job.definition_not_found"),
        ("fk_job_runtime_configs_job_type", VALIDATION, "job.definition_not_found"),
        ("fk_job_queue_organization", VALIDATION, "job.organization_not_found"),
        ("uq_workflow_runs_type_idempotency_org", CONFLICT, "workflow.already_enqueued"),
        ("uq_workflow_runs_type_idempotency_global", CONFLICT, "workflow.already_enqueued"),
        ("os_workflow_job_linkage_symmetry", VALIDATION, "workflow.linkage_symmetry_violation"),
        (
            "os_workflow_job_linkage_symmetry_trigger_table",
            VALIDATION,
            "workflow.linkage_symmetry_trigger_table_invalid",
        ),
    ],
)
def test_a_known_constraint_wins_over_the_sqlstate(constraint: str, category: QueryErrorCategory, code: str) -> None:
    """ERR-002."""
    assert code_of("42501", constraint) == (category, code)


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("25006", "the database could not run the query (SQLSTATE 25006)"),
        (None, "the database could not run the query"),
    ],
)
def test_what_is_not_classified_is_told_by_its_sqlstate(sqlstate: str | None, message: str) -> None:
    assert classify(sqlstate, None).client_message == message


def test_an_index_that_cannot_hold_a_value_is_no_conflict() -> None:
    """PostgreSQL names the index as if it were a constraint that is violated."""
    own = ErrorClass(CONFLICT, "app.taken", "taken")

    assert classify("54000", "uq_job_queue_type_idempotency_global", lambda _: own).code == "db.query_failed"


def test_the_classifier_of_a_host_wins_over_ours_and_leaves_to_us_what_it_does_not_know() -> None:
    """ERR-003."""
    own = ErrorClass(CONFLICT, "app.taken", "taken")
    known = next(iter(CONSTRAINT_CLASSES))

    assert classify("23505", known, lambda name: own if name == known else None) == own
    assert classify("23505", known, lambda _name: None) == CONSTRAINT_CLASSES[known]
    assert classify("23505", None, lambda _name: own).code == "db.unique_violation"


def test_text_and_repr_show_no_internal_message() -> None:
    """ERR-004."""
    error = QueryError(
        category=INTERNAL,
        code="db.query_failed",
        client_message="the database could not run the query",
        internal_message="jobs.enqueue_job: secret",
        sqlstate="XX000",
        constraint="chk",
        source=ValueError("secret"),
    )

    assert str(error) == error.client_message == "the database could not run the query"
    assert repr(error) == (
        "QueryError(category=Internal, code='db.query_failed', client_message='the database could not run the query', "
        "sqlstate='XX000', constraint='chk', has_source=True)"
    )


def test_a_refusal_has_no_source() -> None:
    error = refusal(VALIDATION, "job.not_found", "there is no such job")

    assert (error.source, error.sqlstate, error.constraint) == (None, None, None)
    assert error.internal_message == "there is no such job"


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(refusal(CONFLICT, "job.idempotency_conflict", "taken")))  # noqa: S301 - our own

    assert (error.category, error.code, str(error)) == (CONFLICT, "job.idempotency_conflict", "taken")
