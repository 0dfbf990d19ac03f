"""The request to enqueue one job."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import (
    check_idempotency_key,
    check_int32,
    check_organization_id,
    check_stage,
    check_whole_seconds,
)
from runledger.core.json_form import JsonEncodable

_NO_DELAY = timedelta(0)
_DEFAULT_STAGE = "queued"

# PostgreSQL stores instants before the year 1 and beyond 9999, but Python's datetime cannot read them back,
# in whatever time zone the session has: every later listing that contains the row would fail. So due times
# keep a day of distance from both ends, and delays end after a thousand years.
_EARLIEST_RUN_AT = datetime(1, 1, 2, tzinfo=UTC)
_LATEST_RUN_AT = datetime(9999, 12, 31, tzinfo=UTC)
_MAX_DELAY = timedelta(days=365_000)


@dataclass(frozen=True, slots=True)
class EnqueueRequest:
    """What a caller asks for.

    Checked when it is made, so that one bad request does not fail its whole batch later. The payload is
    encoded when the request is sent, not before: do not change it in between.

    Attributes:
        job_type: The kind of job; needs an enabled definition when the request is sent.
        payload: Any JSON value, or an instance of what the handler's annotation names.
        organization_id: The tenant that the job belongs to; ``None`` is the global scope.
        priority: Higher runs first; ``None`` takes the definition's. Negative priorities are allowed.
        max_attempts: How often the job may be tried; ``None`` takes the definition's.
        timeout: How long one attempt may take, in whole seconds; ``None`` takes the definition's.
        run_at: When the job is due, with a time zone. Not together with ``run_in``; with neither it is due at
            once.
        run_in: How long from now, by the clock of the database, the job is due; at most 365,000 days.
        stage: The stage that the job starts with.
        idempotency_key: Makes the request repeatable: a second one with the same key, job type and organization
            gives the job of the first if it asks for the same, and is refused if not. At most 1,024 bytes in UTF-8.

    Raises:
        InvalidArgumentError: An argument breaks a rule; ``error.field`` names it.
        BlankJobTypeError: The job type is blank.
    """

    job_type: str
    payload: JsonEncodable = field(default=None, repr=False)
    _: KW_ONLY
    organization_id: UUID | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    run_at: datetime | None = None
    run_in: timedelta | None = None
    stage: str = _DEFAULT_STAGE
    idempotency_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_identifier(self.job_type, field="job_type", blank_error=BlankJobTypeError)
        # Requests are made by the hundred thousand, nearly all with nothing but type and payload: every
        # further check stands behind a comparison that such a request skips.
        if self.organization_id is not None:
            check_organization_id("organization_id", self.organization_id)
        if self.priority is not None:
            check_int32("priority", self.priority)
        if self.max_attempts is not None:
            check_int32("max_attempts", self.max_attempts, minimum=1)
        if self.timeout is not None:
            check_whole_seconds("timeout", self.timeout)
        if self.run_at is not None:
            _check_run_at(self.run_at)
            if self.run_in is not None:
                raise InvalidArgumentError("run_in", "is given together with run_at", "pass one of the two")
        if self.run_in is not None:
            _check_run_in(self.run_in)
        if self.stage != _DEFAULT_STAGE:
            check_stage("stage", self.stage)
        if self.idempotency_key is not None:
            check_idempotency_key(self.idempotency_key)

    @property
    def timeout_seconds(self) -> int | None:
        """The timeout as the database has it."""
        return None if self.timeout is None else int(self.timeout.total_seconds())


def _check_run_at(value: object) -> None:
    if not isinstance(value, datetime):
        raise InvalidArgumentError("run_at", f"is of type {type(value).__name__}", "pass a datetime with a time zone")
    if value.utcoffset() is None:
        raise InvalidArgumentError("run_at", "has no time zone", "pass for example datetime.now(UTC) or use run_in")
    if not _EARLIEST_RUN_AT <= value < _LATEST_RUN_AT:
        raise InvalidArgumentError(
            "run_at", "is out of range", "pass an instant between 0001-01-02 and 9999-12-31 (UTC)"
        )


def _check_run_in(value: object) -> None:
    if not isinstance(value, timedelta):
        raise InvalidArgumentError("run_in", f"is of type {type(value).__name__}", "pass a datetime.timedelta")
    if value < _NO_DELAY:
        raise InvalidArgumentError("run_in", "is negative", "pass zero or more, or use run_at for a past instant")
    if value > _MAX_DELAY:
        raise InvalidArgumentError("run_in", "is too far in the future", f"pass at most {_MAX_DELAY.days} days")
