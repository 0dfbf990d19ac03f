"""Identifiers: job types, workflow types and step keys.

Each is a ``str`` and behaves like one: it compares, hashes, orders and serialises as the plain text, and
surrounding whitespace is kept. There is no rule on length or characters but three: an identifier is not blank,
PostgreSQL can store it, and it is short enough for the indexes.
"""

from __future__ import annotations

from typing import ClassVar, Self

from runledger.core.database_text import check_text
from runledger.core.errors import (
    BlankJobTypeError,
    BlankStepKeyError,
    BlankWorkflowTypeError,
    InvalidArgumentError,
)

# An entry of a B-tree ends at 2,704 bytes, and a job type shares it with an idempotency key of as many, a step key with
# the id of its run. Refused here, a long one does not fail the other requests of its batch.
_MAX_BYTES = 1_024

# A character takes four bytes at most: what is no longer than this need not be encoded to be measured.
_SURELY_SHORT = _MAX_BYTES // 4

_BlankError = type[BlankJobTypeError] | type[BlankWorkflowTypeError] | type[BlankStepKeyError]


class _Identifier(str):
    """A validated string; see the subclasses."""

    __slots__ = ()

    _field: ClassVar[str]
    _blank_error: ClassVar[_BlankError]

    def __new__(cls, text: str) -> Self:
        check_identifier(text, field=cls._field, blank_error=cls._blank_error)
        return cls.unchecked(text)

    @classmethod
    def unchecked(cls, text: str) -> Self:
        """Take the text as it is, also when it is blank; whoever builds or stores it checks it then."""
        # str.__str__ takes the characters. str.__new__ alone would ask the text's own __str__, and a member
        # of a class (str, Enum) answers with "Color.RED" instead of its value.
        return str.__new__(cls, str.__str__(text))


class JobType(_Identifier):
    """Name of a kind of job, such as ``"email.send"``.

    Args:
        text: The name. It is kept as given, with its surrounding whitespace.

    Raises:
        BlankJobTypeError: The text is empty or only whitespace.
        InvalidArgumentError: It is no string, longer than 1,024 bytes in UTF-8, or holds what PostgreSQL cannot store.
    """

    __slots__ = ()

    _field = "job_type"
    _blank_error = BlankJobTypeError


class WorkflowType(_Identifier):
    """Name of a kind of workflow, such as ``"order.fulfil"``.

    A label and no more: there is no table of workflow definitions.

    Args:
        text: The name. It is kept as given, with its surrounding whitespace.

    Raises:
        BlankWorkflowTypeError: The text is empty or only whitespace.
        InvalidArgumentError: It is no string, longer than 1,024 bytes in UTF-8, or holds what PostgreSQL cannot store.
    """

    __slots__ = ()

    _field = "workflow_type"
    _blank_error = BlankWorkflowTypeError


class StepKey(_Identifier):
    """Name of a step, unique in its workflow run, such as ``"charge_card"``.

    Args:
        text: The key. It is kept as given, with its surrounding whitespace.

    Raises:
        BlankStepKeyError: The text is empty or only whitespace.
        InvalidArgumentError: It is no string, longer than 1,024 bytes in UTF-8, or holds what PostgreSQL cannot store.
    """

    __slots__ = ()

    _field = "step_key"
    _blank_error = BlankStepKeyError


def check_identifier(text: object, *, field: str, blank_error: _BlankError) -> None:
    """Apply the rules of identifiers to a text that may not have passed a validating constructor.

    Args:
        text: The text that is to be an identifier.
        field: The name that errors give to it.
        blank_error: The class to raise for a blank text.

    Raises:
        InvalidArgumentError: The text breaks a rule; when it is blank, of the class ``blank_error``.
    """
    if isinstance(text, str) and not text.strip():
        raise blank_error(field)
    check_identifier_text(field, text)


def check_identifier_text(field: str, value: object) -> None:
    """Refuse what is no text, or one that no index can hold, or no column.

    Raises:
        InvalidArgumentError: The value is no text, or is too long or cannot be stored.
    """
    text = check_text(field, value)
    if len(text) > _SURELY_SHORT and len(text.encode()) > _MAX_BYTES:
        raise InvalidArgumentError(field, f"is longer than {_MAX_BYTES} bytes", "shorten it, or use a digest")
