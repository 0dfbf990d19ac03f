"""How an attempt ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from runledger.core.jobs.handler import JobFailure

SHUTDOWN_CODE = "job.worker_shutdown"
"""The code of an attempt that the end of the worker cut short."""

JOB_CANCELED = "job.canceled"
"""The code of an attempt whose job was canceled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The handler returned.

    Attributes:
        output_json: Its return value as JSON text; ``None`` when it returned nothing.
    """

    output_json: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt failed.

    Attributes:
        failure: What is recorded.
        retry_delay: Time until the next attempt, if there is one.
    """

    failure: JobFailure
    retry_delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The lease is not ours any more, or will not be, so nothing may be written.

    Attributes:
        code: Why.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The handler's own transaction has written the success, so nothing else is written."""


Outcome = Succeeded | Failed | Dropped | Finished
