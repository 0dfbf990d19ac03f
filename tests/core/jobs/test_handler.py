"""Handlers and what they get in hand."""

import pickle
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure, JobHandler, JobProgress
from runledger.core.jobs.status import JobDeadLetterReason, JobFailureKind
from runledger.core.json_value import JsonValue

JOB = UUID("018fa1f8-0000-7000-8000-000000000123")
INT64_MAX = 2**63 - 1

counts = st.integers(0, INT64_MAX)


class Echo(JobHandler):
    job_type = "echo"

    async def execute(self, context: JobContext, payload: JsonValue) -> JsonValue | None:
        return {"attempt": context.attempt, "payload": payload}


def make_context(attempt: int = 1, max_attempts: int = 3) -> JobContext:
    return JobContext(
        job_id=JOB,
        job_type="echo",
        run_number=1,
        attempt=attempt,
        max_attempts=max_attempts,
        worker_id="worker-1",
        saved_checkpoint={"card": "4111-secret"},
    )


async def test_the_default_dead_letter_hook_does_nothing_and_succeeds() -> None:
    """CORE-041."""
    info = JobDeadLetterInfo(
        failure=JobFailure.terminal("smtp.rejected", "no such mailbox"),
        reason=JobDeadLetterReason.FAILURE_KIND_NON_RETRYABLE,
    )

    await Echo().on_dead_letter(make_context(), {"a": 1}, info)

    assert info.max_attempts is None


async def test_a_handler_is_plain_enough_to_be_called_in_a_test() -> None:
    assert await Echo().execute(make_context(), [1]) == {"attempt": 1, "payload": [1]}


def test_a_handler_without_execute_cannot_be_made() -> None:
    class Nothing(JobHandler):
        job_type = "nothing"

    with pytest.raises(TypeError):
        Nothing()  # pyright: ignore[reportAbstractUsage]


@pytest.mark.parametrize(("attempt", "is_last"), [(1, False), (2, False), (3, True), (4, True)])
def test_the_context_knows_the_last_attempt(attempt: int, is_last: bool) -> None:  # noqa: FBT001 - parametrized
    assert make_context(attempt, max_attempts=3).is_last_attempt is is_last


def test_the_repr_of_a_context_names_the_attempt_but_not_the_checkpoint() -> None:
    class ActingContext(JobContext):
        pass

    assert "4111-secret" not in repr(make_context())
    assert repr(make_context()).startswith(f"JobContext(job_id={JOB!r}, job_type='echo', run_number=1")
    assert repr(
        ActingContext(job_id=JOB, job_type="echo", run_number=1, attempt=1, max_attempts=1, worker_id="worker-1")
    ).startswith("ActingContext(")


CONSTRUCTORS = [
    (JobFailure.retryable, JobFailureKind.RETRYABLE),
    (JobFailure.terminal, JobFailureKind.TERMINAL),
    (JobFailure.timeout, JobFailureKind.TIMEOUT),
    (JobFailure.lease_expired, JobFailureKind.LEASE_EXPIRED),
    (JobFailure.panicked, JobFailureKind.PANICKED),
]


@pytest.mark.parametrize(("constructor", "kind"), CONSTRUCTORS)
def test_each_failure_constructor_sets_its_kind_and_keeps_code_and_message(
    constructor: Any,
    kind: JobFailureKind,
) -> None:
    """CORE-042."""
    failure = constructor("smtp.rejected", "no such mailbox")

    assert (failure.kind, failure.code, failure.message) == (kind, "smtp.rejected", "no such mailbox")
    assert failure.retry_in is None
    assert str(failure) == "no such mailbox"


def test_every_kind_has_a_constructor() -> None:
    assert {kind for _, kind in CONSTRUCTORS} == set(JobFailureKind)


def test_a_failure_is_no_runledger_error() -> None:
    assert not issubclass(JobFailure, RunledgerError)


def test_a_failure_survives_pickling() -> None:
    failure = JobFailure.retryable("smtp.busy", "try later", retry_in=timedelta(minutes=5))

    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own bytes

    assert (copy.kind, copy.code, copy.message, copy.retry_in) == (
        JobFailureKind.RETRYABLE,
        "smtp.busy",
        "try later",
        timedelta(minutes=5),
    )
    assert str(copy) == "try later"


@pytest.mark.parametrize(
    ("message", "text"), [(OSError("connection reset"), "connection reset"), (5, "5"), (None, "None")]
)
def test_a_message_that_is_no_text_counts_by_its_text(message: Any, text: str) -> None:
    """A failing handler that passes the exception in place of its text must not fail over that."""
    failure = JobFailure.retryable("smtp.busy", message)

    assert failure.message == str(failure) == text


@pytest.mark.parametrize("code", ["", " \t", "nul\0", "lone\ud800", None, 5])
def test_a_failure_without_a_real_code_is_refused(code: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        JobFailure.terminal(code, "message")

    assert caught.value.field == "code"


def test_a_failure_of_no_kind_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="kind: is of type str"):
        JobFailure("RETRYABLE", "smtp.busy", "try later")  # pyright: ignore[reportArgumentType]


@given(milliseconds=st.integers(1, 2**31 - 1))
def test_a_handlers_own_delay_is_kept(milliseconds: int) -> None:
    delay = timedelta(milliseconds=milliseconds)

    assert JobFailure.retryable("smtp.busy", "try later", retry_in=delay).retry_in == delay


@pytest.mark.parametrize("retry_in", [timedelta(0), timedelta(seconds=-1), timedelta.min])
def test_a_computed_delay_that_is_over_counts_as_none(retry_in: timedelta) -> None:
    """An error here would be a defect of the handler, which dead-letters the job that was to be retried."""
    assert JobFailure.retryable("smtp.busy", "try later", retry_in=retry_in).retry_in == timedelta(0)


@pytest.mark.parametrize("retry_in", [timedelta(milliseconds=2**31), timedelta.max])
def test_a_delay_that_cannot_be_stored_is_cut(retry_in: timedelta) -> None:
    kept = JobFailure.retryable("smtp.busy", "try later", retry_in=retry_in).retry_in

    assert kept == timedelta(milliseconds=2**31 - 1)


@pytest.mark.parametrize("retry_in", [5, True, "1s"])
def test_a_delay_that_is_no_timedelta_is_refused(retry_in: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        JobFailure.retryable("smtp.busy", "try later", retry_in=retry_in)

    assert caught.value.field == "retry_in"


@pytest.mark.parametrize("kind", [kind for kind in JobFailureKind if kind is not JobFailureKind.RETRYABLE])
def test_only_a_retryable_failure_takes_a_delay(kind: JobFailureKind) -> None:
    with pytest.raises(InvalidArgumentError, match="retry_in"):
        JobFailure(kind, "some.code", "message", retry_in=timedelta(seconds=1))


@given(total=counts, data=st.data())
def test_progress_up_to_the_total_is_accepted(total: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, total))

    progress = JobProgress(progress_done=done, progress_total=total)

    assert (progress.progress_done, progress.progress_total) == (done, total)


@given(total=st.integers(0, INT64_MAX - 1), over=st.integers(1, 1000))
def test_progress_beyond_the_total_is_refused(total: int, over: int) -> None:
    """LIFE-014."""
    with pytest.raises(InvalidArgumentError) as caught:
        JobProgress(progress_done=min(total + over, INT64_MAX), progress_total=total)

    assert caught.value.field == "progress_done"


def test_a_stage_has_room_for_a_sentence_and_not_for_a_document() -> None:
    assert JobProgress(stage="é" * 512).stage == "é" * 512
    with pytest.raises(
        InvalidArgumentError, match=r"^stage: is longer than 1024 bytes; name the stage in a few words$"
    ):
        JobProgress(stage="x" * 10_000_000)


def test_one_count_alone_is_accepted_and_every_field_may_be_absent() -> None:
    assert JobProgress() == JobProgress(stage=None, progress_done=None, progress_total=None, checkpoint=None)
    assert JobProgress(progress_done=5).progress_total is None
    assert JobProgress(progress_total=5).progress_done is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", " "),
        ("stage", 1),
        ("stage", "nul\0"),
        ("stage", "é" * 512 + "x"),
        ("progress_done", -1),
        ("progress_done", True),
        ("progress_done", 1.0),
        ("progress_done", INT64_MAX + 1),
        ("progress_total", -1),
        ("progress_total", INT64_MAX + 1),
    ],
)
def test_progress_that_breaks_a_rule_is_refused_by_the_fields_name(name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value}

    with pytest.raises(InvalidArgumentError) as caught:
        JobProgress(**arguments)

    assert caught.value.field == name


def test_the_checkpoint_is_not_in_the_repr_of_progress() -> None:
    assert "4111-secret" not in repr(JobProgress(stage="sending", checkpoint={"card": "4111-secret"}))
