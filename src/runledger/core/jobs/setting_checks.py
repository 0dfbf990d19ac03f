"""Rules for the settings of a job: numbers that fit their columns, durations in whole seconds, stages, tenants.

They apply wherever a setting enters: a definition, an enqueue request, a workflow step. Each refuses a
``bool`` where a number is meant, since Python would take ``True`` for 1.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from runledger.core.database_text import check_text
from runledger.core.errors import InvalidArgumentError

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1

_SECOND = timedelta(seconds=1)

# An entry of a B-tree ends at 2,704 bytes, and the key shares it with the job type. Refused here, a long key does not
# fail the other requests of its batch.
_MAX_KEY_BYTES = 1_024

# A stage is stored with the job and again with each of its events, and every list of them shows it.
_MAX_STAGE_BYTES = 1_024


def check_int32(field: str, value: object, *, minimum: int = -INT32_MAX - 1) -> None:
    """Refuse what is no integer from ``minimum`` up to the largest that an ``integer`` column holds."""
    _check_integer(field, value, minimum, INT32_MAX)


def check_count(field: str, value: object) -> None:
    """Refuse what is no integer from zero up to the largest that a ``bigint`` column holds."""
    _check_integer(field, value, 0, INT64_MAX)


def check_whole_seconds(field: str, value: object) -> None:
    """Refuse what is no duration of a whole, positive number of seconds that fits an ``integer`` column."""
    if not isinstance(value, timedelta):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass a datetime.timedelta")
    if value.microseconds:
        raise InvalidArgumentError(field, "has a fraction of a second", "pass whole seconds")
    if not 1 <= value // _SECOND <= INT32_MAX:
        problem = "is too long" if value > _SECOND else "is not positive"
        raise InvalidArgumentError(field, problem, f"pass 1 to {INT32_MAX} seconds, which are 24,855 days")


def check_stage(field: str, value: object) -> None:
    """Refuse what is no text, blank, too long for a name, or nothing that PostgreSQL can store."""
    text = _check_name(field, value, "name a stage, for example 'queued'")
    if len(text.encode()) > _MAX_STAGE_BYTES:
        raise InvalidArgumentError(field, f"is longer than {_MAX_STAGE_BYTES} bytes", "name the stage in a few words")


def check_idempotency_key(value: object, *, field: str = "idempotency_key") -> None:
    """Refuse what is no text, blank, too long for an index, or nothing that PostgreSQL can store."""
    text = _check_name(field, value, "name the request, for example 'order-17/confirm', or pass None")
    if len(text.encode()) > _MAX_KEY_BYTES:
        raise InvalidArgumentError(field, f"is longer than {_MAX_KEY_BYTES} bytes", "pass a digest of it")


def check_organization_id(field: str, value: object) -> None:
    """Refuse what is no UUID; a text that merely looks like one is refused too."""
    if not isinstance(value, UUID):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass a uuid.UUID or None")


def check_reason(field: str, value: object) -> None:
    """Refuse what is no text, blank, or nothing that PostgreSQL can store."""
    _check_name(field, value, "say why in a few words, or leave it out where that is possible")


def check_failure_code(field: str, value: object) -> None:
    """Refuse what is no text, blank, or nothing that PostgreSQL can store."""
    _check_name(field, value, "pass a short stable text, for example 'smtp.rejected'")


def _check_integer(field: str, value: object, minimum: int, maximum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgumentError(field, f"is of type {type(value).__name__}", "pass an int")
    if not minimum <= value <= maximum:
        raise InvalidArgumentError(field, "is out of range", f"pass a number from {minimum} to {maximum}")


def _check_name(field: str, value: object, blank_remedy: str) -> str:
    text = check_text(field, value)
    if not text.strip():
        raise InvalidArgumentError(field, "is blank", blank_remedy)
    return text
