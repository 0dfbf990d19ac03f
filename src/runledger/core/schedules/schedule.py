"""Schedules as they are asked for and as they are stored.

Whether a time zone exists is not known here: that takes files. A request is checked for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from runledger.core.database_text import unstorable_text_problem
from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.setting_checks import check_int32, check_organization_id
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue, decode_json
from runledger.core.schedules.catch_up import CatchUp
from runledger.core.schedules.cron_expression import parse_cron
from runledger.core.stored_text import StoredTextEnum

MAX_JITTER = timedelta(days=1)
"""The longest jitter."""

MAX_CATCH_UP_LIMIT = 1_000
"""Due times that one pass makes up for at most; as many jobs as one statement inserts."""

# An entry of a B-tree ends at 2,704 bytes.
_MAX_NAME_BYTES = 1_024

_SECOND = timedelta(seconds=1)

# A search for cron times needs some room on both sides; the table has the same rule.
_EARLIEST = datetime(2, 1, 1, tzinfo=UTC)
_LATEST = datetime(9998, 1, 1, tzinfo=UTC)


class Overlap(StoredTextEnum):
    """What a schedule does when it is due and its last job has not ended."""

    ALLOW = "allow"
    """It fires; jobs of one schedule may run side by side."""

    SKIP = "skip"
    """It leaves the due time out."""


class ScheduleOwner(StoredTextEnum):
    """Who says what a schedule is."""

    OPERATOR = "operator"
    """Whoever calls ``upsert_schedule``."""

    CATALOG = "catalog"
    """The code of an application, which declares it together with others of its scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """What a caller asks for.

    Attributes:
        name: The name, unique in the schema; at most 1,024 bytes in UTF-8.
        job_type: The type of its jobs.
        cron_expr: When it is due, see :func:`parse_cron`.
        payload_template: The payload of its jobs, which get a member ``_schedule`` besides.
        organization_id: The tenant that schedule and jobs belong to; ``None`` is the global scope. A schedule that
            exists keeps its own.
        timezone: The IANA name of the zone whose local time the expression means.
        max_jitter: How much later than its cron time a fire may be due; whole seconds, at most a day.
        catch_up: Which due times fire when several have passed.
        catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`; 1 to 1,000.
        overlap: What happens when it is due and its last job has not ended.
        is_active: Whether it fires. A schedule that exists stays as it is.

    Raises:
        InvalidArgumentError: A value breaks a rule: ``job_schedule.invalid_name``, ``job_schedule.invalid_timezone``,
            ``job_schedule.invalid_jitter``, or another code; ``error.field`` names it.
        InvalidCronError: ``job_schedule.invalid_cron``.
        BlankJobTypeError: The job type is blank.
    """

    name: str
    job_type: str
    cron_expr: str
    payload_template: JsonEncodable = field(default_factory=dict[str, JsonEncodable], repr=False)
    organization_id: UUID | None = None
    timezone: str = "UTC"
    max_jitter: timedelta = timedelta()
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: int = 100
    overlap: Overlap = Overlap.ALLOW
    is_active: bool = True

    def __post_init__(self) -> None:
        check_schedule_name(self.name)
        check_identifier(self.job_type, field="job_type", blank_error=BlankJobTypeError)
        parse_cron(self.cron_expr)
        if self.organization_id is not None:
            check_organization_id("organization_id", self.organization_id)
        check_timezone_text(self.timezone)
        _check_max_jitter(self.max_jitter)
        _check_member("catch_up", self.catch_up, CatchUp)
        check_int32("catch_up_limit", self.catch_up_limit, minimum=1)
        if self.catch_up_limit > MAX_CATCH_UP_LIMIT:
            raise InvalidArgumentError("catch_up_limit", "is too large", f"pass at most {MAX_CATCH_UP_LIMIT}")
        _check_member("overlap", self.overlap, Overlap)
        _check_member("is_active", self.is_active, bool)

    @property
    def max_jitter_seconds(self) -> int:
        """The longest jitter as the database has it."""
        return self.max_jitter // _SECOND


class Kept(Enum):
    """Stands for a setting that stays as it is, where ``None`` is a value."""

    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleChanges:
    """Settings of a schedule that are to change, with the meaning and the rules of :class:`ScheduleRequest`.

    What is ``None`` stays as it is, and so does a payload template that is ``Kept.KEPT``.

    Raises:
        InvalidArgumentError: A value breaks a rule, as of a request.
        InvalidCronError: ``job_schedule.invalid_cron``.
        BlankJobTypeError: The job type is blank.
    """

    job_type: str | None = None
    cron_expr: str | None = None
    payload_template: JsonEncodable | Kept = field(default=Kept.KEPT, repr=False)
    timezone: str | None = None
    max_jitter: timedelta | None = None
    catch_up: CatchUp | None = None
    catch_up_limit: int | None = None
    overlap: Overlap | None = None

    def __post_init__(self) -> None:
        # A request knows the rules; what is not given is something that keeps them.
        settings = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "payload_template"}
        request: dict[str, Any] = {"name": "any", "job_type": "any", "cron_expr": "@daily"}
        request |= {name: value for name, value in settings.items() if value is not None}
        ScheduleRequest(**request)

    @property
    def max_jitter_seconds(self) -> int | None:
        """The longest jitter as the database has it."""
        return None if self.max_jitter is None else self.max_jitter // _SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A row of ``job_schedules``.

    The payload template is kept as text and decoded at each access: a schedule whose template cannot be read here can
    be listed, paused and deleted all the same.

    Attributes:
        schedule_id: Its id, of which the jitter is made.
        name: The name of the schedule.
        job_type: The type of its jobs.
        organization_id: The tenant that it belongs to, or ``None``.
        payload_template_json: The payload of its jobs, as JSON text.
        cron_expr: When it is due.
        timezone: The zone whose local time the expression means.
        is_active: Whether it fires.
        next_fire_at: When it is due next; what is in the past is due.
        deferred_due_at: The due time that could not fire yet and is tried again at ``next_fire_at``; ``None`` when all
            is well.
        last_fired_at: When it fired last.
        last_job_id: The job that it made last.
        max_jitter: How much later than its cron time a fire may be due.
        catch_up: Which due times fire when several have passed.
        catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`.
        overlap: What happens when it is due and its last job has not ended.
        owner: Whether a catalog or an operator says what it is.
        catalog_scope: The catalog that declares it, if one does.
        absent_since: When it was paused because its catalog does not declare it any more; ``None`` otherwise.
        created_at: When it was made.
        updated_at: When it changed last, or fired.
    """

    schedule_id: UUID
    name: str
    job_type: str
    organization_id: UUID | None
    payload_template_json: str = field(repr=False)
    cron_expr: str
    timezone: str
    is_active: bool
    next_fire_at: datetime
    deferred_due_at: datetime | None
    last_fired_at: datetime | None
    last_job_id: UUID | None
    max_jitter: timedelta
    catch_up: CatchUp
    catch_up_limit: int
    overlap: Overlap
    owner: ScheduleOwner
    catalog_scope: str | None
    absent_since: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def payload_template(self) -> JsonValue:
        """The payload of its jobs, decoded anew.

        Raises:
            UndecodableJsonError: Python cannot read it.
        """
        return decode_json(self.payload_template_json)


def check_schedule_name(name: object) -> None:
    """Refuse what cannot be the name of a schedule.

    Raises:
        InvalidArgumentError: ``job_schedule.invalid_name``.
    """
    code = "job_schedule.invalid_name"
    text = _check_text("name", name, remedy="name the schedule, for example 'nightly-report'", code=code)
    if len(text.encode()) > _MAX_NAME_BYTES:
        raise InvalidArgumentError("name", f"is longer than {_MAX_NAME_BYTES} bytes", "shorten it", code=code)


def check_timezone_text(timezone: object) -> None:
    """Refuse what cannot be the name of a time zone, as far as that can be told without a list of them.

    Raises:
        InvalidArgumentError: ``job_schedule.invalid_timezone``.
    """
    _check_text(
        "timezone",
        timezone,
        remedy="pass an IANA name, for example 'Europe/Berlin' or 'UTC'",
        code="job_schedule.invalid_timezone",
    )


def check_next_fire_at(value: object) -> None:
    """Refuse what cannot be the time at which a schedule is due next.

    Raises:
        InvalidArgumentError: It is no instant, or one of a year before 2 or after 9997.
    """
    if not isinstance(value, datetime):
        raise InvalidArgumentError(
            "next_fire_at", f"is of type {type(value).__name__}", "pass a datetime with a time zone"
        )
    if value.utcoffset() is None:
        raise InvalidArgumentError("next_fire_at", "has no time zone", "pass for example datetime.now(UTC)")
    if not _EARLIEST <= value < _LATEST:
        raise InvalidArgumentError("next_fire_at", "is out of range", "pass an instant in the years 2 to 9997 (UTC)")


def check_catalog_scope(scope: object, *, field: str = "scope") -> None:
    """Refuse what cannot be the name of a catalog."""
    _check_text(field, scope, remedy="name the application", code="argument.invalid")


def _check_text(field_name: str, value: object, *, remedy: str, code: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgumentError(field_name, f"is of type {type(value).__name__}", remedy, code=code)
    if not value.strip():
        raise InvalidArgumentError(field_name, "is blank", remedy, code=code)
    if value != value.strip():
        raise InvalidArgumentError(field_name, "begins or ends with a blank", "remove it", code=code)
    problem = unstorable_text_problem(value)
    if problem is not None:
        raise InvalidArgumentError(field_name, problem, "PostgreSQL cannot store it, remove it", code=code)
    return value


def _check_max_jitter(value: object) -> None:
    code = "job_schedule.invalid_jitter"
    if not isinstance(value, timedelta):
        raise InvalidArgumentError(
            "max_jitter", f"is of type {type(value).__name__}", "pass a datetime.timedelta", code=code
        )
    if value % _SECOND:
        raise InvalidArgumentError("max_jitter", "has a fraction of a second", "pass whole seconds", code=code)
    if not timedelta() <= value <= MAX_JITTER:
        raise InvalidArgumentError("max_jitter", "is out of range", "pass zero to 86400 seconds", code=code)


def _check_member(field_name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InvalidArgumentError(field_name, f"is of type {type(value).__name__}", f"pass a {kind.__name__}")
