"""The error tree of Runledger.

Callers branch on the class or on the stable ``code``, never on the text. Every message is safe to show:
it names fields, rules and remedies, but holds no payload, no key and no text that came from the database. Three
kinds name keys of steps: ``WorkflowBuildError``, which has a message without them besides; ``WorkflowRunFailedError``
that of the step that failed, with the error code that its handler chose; the refusal of a gate or a window that a run
does not have, that which the caller gave.

::

    Exception
    ├── RunledgerError                        .code
    │   ├── InvalidArgumentError              argument.invalid (also a ValueError)
    │   │   ├── BlankJobTypeError             job.type_blank
    │   │   ├── BlankWorkflowTypeError        workflow.type_blank
    │   │   ├── BlankStepKeyError             workflow.step_key_blank
    │   │   ├── WorkflowBuildError            one code per case; in runledger.core.workflows.build_error
    │   │   └── InvalidCronError              job_schedule.invalid_cron
    │   ├── ConfigError                       config.invalid
    │   ├── UnknownStoredTextError            core.unknown_stored_text
    │   ├── UndecodableJsonError              core.json_undecodable
    │   ├── PayloadMismatchError              job.payload_invalid
    │   ├── WorkflowRunFailedError            workflow.run_failed
    │   ├── QueryError                        one code per failure; in runledger.postgres
    │   ├── DatabaseConnectionError           in runledger.postgres
    │   ├── SchemaCompatibilityError          in runledger.postgres
    │   │   ├── MissingMigrationHistoryError            schema.missing_migration_history
    │   │   ├── IncompatibleSchemaError                 schema.incompatible
    │   │   └── LegacyIdempotencySnapshotsMissingError  schema.legacy_idempotency_snapshots_missing
    │   ├── EmbeddedServerError               one code per case; in runledger.embedded
    │   ├── EphemeralDatabaseError            one code per case; in runledger.testing
    │   └── EndlessJobsError                  testing.jobs_without_end; in runledger.testing
    └── JobFailure                            raised by handlers; in runledger.core.jobs.handler

``JobFailure`` stands outside the tree on purpose: it is the outcome of an application's own work, so a
handler that catches ``RunledgerError`` must not swallow it.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Self
from uuid import UUID

from runledger.core.printable import shortened


class RunledgerError(Exception):
    """Base of all errors that Runledger raises.

    Attributes:
        code: Stable text to branch on, such as ``"argument.invalid"``.
    """

    code: str

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone and fail on the keyword-only arguments, so
        # that an error raised in a worker process would reach its parent as a TypeError. Made by __new__
        # instead, the attributes come back from the state.
        return _without_init, (type(self), *self.args), self.__dict__


def _without_init(error_class: type[RunledgerError], *args: object) -> RunledgerError:
    return error_class.__new__(error_class, *args)


class InvalidArgumentError(RunledgerError, ValueError):
    """An argument breaks a rule that can be checked without the database.

    The text reads ``"<field>: <problem>; <remedy>"`` and never holds the value itself, but for the keys of steps, the
    parts of cron expressions and the names of time zones.

    Attributes:
        field: Name of the offending argument, or the path of the place inside it.
        problem: What is wrong.
        remedy: What the caller can do about it.
    """

    field: str
    problem: str
    remedy: str

    def __init__(self, field: str, problem: str, remedy: str, *, code: str = "argument.invalid") -> None:
        super().__init__(f"{field}: {problem}; {remedy}", code=code)
        self.field = field
        self.problem = problem
        self.remedy = remedy

    def of_field(self, field: str) -> Self:
        """Return the same error for the name by which the caller knows the argument."""
        renamed = copy(self)
        renamed.args = (f"{field}: {self.problem}; {self.remedy}",)
        renamed.field = field
        return renamed


class BlankJobTypeError(InvalidArgumentError):
    """A job type is empty or only whitespace."""

    def __init__(self, field: str = "job_type") -> None:
        super().__init__(field, "is blank", "name the job type, for example 'email.send'", code="job.type_blank")


class BlankWorkflowTypeError(InvalidArgumentError):
    """A workflow type is empty or only whitespace."""

    def __init__(self, field: str = "workflow_type") -> None:
        super().__init__(
            field,
            "is blank",
            "name the workflow type, for example 'order.fulfil'",
            code="workflow.type_blank",
        )


class BlankStepKeyError(InvalidArgumentError):
    """A step key is empty or only whitespace."""

    def __init__(self, field: str = "step_key") -> None:
        super().__init__(
            field,
            "is blank",
            "give the step a key, for example 'charge_card'",
            code="workflow.step_key_blank",
        )


class InvalidCronError(InvalidArgumentError):
    """A cron expression cannot be read, or can never fire.

    Unlike that of other arguments, its text quotes what cannot be read: an expression is a setting of the
    application, and among five fields the mistake is hard to find otherwise.
    """

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(field, problem, remedy, code="job_schedule.invalid_cron")


class ConfigError(RunledgerError):
    """The configuration cannot be used as it is."""

    def __init__(self, message: str, *, code: str = "config.invalid") -> None:
        super().__init__(message, code=code)


class UnknownStoredTextError(RunledgerError):
    """A stored text is no member of its enumeration.

    The database is newer than the code, or was edited by hand.

    Attributes:
        enum_name: Name of the enumeration, such as ``"JobStatus"``.
    """

    enum_name: str

    def __init__(self, enum_name: str) -> None:
        # The text itself is left out: whatever stands in a column in place of a member may be anything.
        super().__init__(f"the database holds a text that is no member of {enum_name}", code="core.unknown_stored_text")
        self.enum_name = enum_name


class UndecodableJsonError(RunledgerError):
    """A stored JSON document cannot become Python values, for example because it is nested too deep.

    PostgreSQL accepts documents that Python's decoder does not: thousands of levels, numbers of thousands of
    digits.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"the stored JSON cannot be decoded: {problem}", code="core.json_undecodable")


class PayloadMismatchError(RunledgerError):
    """A payload does not have the shape that a handler's annotation asks for.

    The text reads ``"payload.items[3].amount: expected integer, found text"`` and never holds the value.

    Attributes:
        path: The place in the payload.
        problem: What is wrong there.
    """

    path: str
    problem: str

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}", code="job.payload_invalid")
        self.path = path
        self.problem = problem


class WorkflowRunFailedError(RunledgerError):
    """A run has ended without the result that somebody waits for.

    Attributes:
        run_id: The run.
        status: How it ended, such as ``"CANCELED"``.
        failed_step_key: The step that is FAILED, of several the one that was made first, or ``None``.
        failed_step_error_code: The error code of that step, or ``None``.
    """

    run_id: UUID
    status: str
    failed_step_key: str | None
    failed_step_error_code: str | None

    def __init__(
        self,
        run_id: UUID,
        status: str,
        *,
        failed_step_key: str | None = None,
        failed_step_error_code: str | None = None,
    ) -> None:
        failed = ""
        if failed_step_key is not None:
            failed = f": step '{shortened(failed_step_key)}' is FAILED"
            if failed_step_error_code is not None:
                failed += f" with {shortened(failed_step_error_code)}"
        super().__init__(
            f"workflow run {run_id} ended as {status} and has no result{failed}; its steps tell why",
            code="workflow.run_failed",
        )
        self.run_id = run_id
        self.status = status
        self.failed_step_key = failed_step_key
        self.failed_step_error_code = failed_step_error_code
