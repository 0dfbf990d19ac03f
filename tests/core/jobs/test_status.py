"""States and transitions of jobs."""

from runledger.core.jobs.status import TRANSITIONS, JobFailureKind, JobStatus

PENDING, LEASED, SUCCEEDED, DEAD_LETTERED, CANCELED = JobStatus


def test_terminal_statuses_are_succeeded_dead_lettered_and_canceled() -> None:
    assert {status for status in JobStatus if status.is_terminal} == {SUCCEEDED, DEAD_LETTERED, CANCELED}


def test_terminal_and_panicked_failures_are_not_retryable_all_others_are() -> None:
    """LIFE-022, LIFE-023, LIFE-024."""
    assert {kind for kind in JobFailureKind if not kind.is_retryable} == {
        JobFailureKind.TERMINAL,
        JobFailureKind.PANICKED,
    }


def test_the_moves_of_the_table_are_those_of_the_contract() -> None:
    assert {(row.from_status, row.to_status) for row in TRANSITIONS} == {
        (None, PENDING),
        (PENDING, LEASED),
        (LEASED, SUCCEEDED),
        (LEASED, PENDING),
        (LEASED, DEAD_LETTERED),
        (PENDING, CANCELED),
        (LEASED, CANCELED),
        (SUCCEEDED, PENDING),
        (DEAD_LETTERED, PENDING),
        (CANCELED, PENDING),
    }


def test_each_operation_makes_exactly_its_own_moves() -> None:
    by_operation: dict[str, set[tuple[JobStatus | None, JobStatus]]] = {}
    for row in TRANSITIONS:
        by_operation.setdefault(row.operation, set()).add((row.from_status, row.to_status))

    assert by_operation == {
        "enqueue": {(None, PENDING)},
        "materialize_schedule": {(None, PENDING)},
        "release_step": {(None, PENDING)},
        "claim": {(PENDING, LEASED)},
        "complete": {(LEASED, SUCCEEDED)},
        "fail": {(LEASED, PENDING), (LEASED, DEAD_LETTERED)},
        "reap": {(LEASED, PENDING), (LEASED, DEAD_LETTERED)},
        "release_unstarted_job_claim": {(LEASED, PENDING)},
        "return_claims": {(LEASED, PENDING)},
        "cancel": {(PENDING, CANCELED), (LEASED, CANCELED)},
        "requeue": {(SUCCEEDED, PENDING), (DEAD_LETTERED, PENDING), (CANCELED, PENDING)},
    }


def test_no_row_is_listed_twice() -> None:
    keys = [(row.from_status, row.to_status, row.operation) for row in TRANSITIONS]
    assert len(keys) == len(set(keys))


def test_only_a_requeue_leaves_a_terminal_status() -> None:
    leaving = {row.operation for row in TRANSITIONS if row.from_status and row.from_status.is_terminal}
    assert leaving == {"requeue"}
