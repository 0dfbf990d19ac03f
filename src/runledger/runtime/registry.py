"""The job types that a worker serves."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo, JobFailure, JobHandler
from runledger.core.jobs.records import JobDefinition
from runledger.core.jobs.retry_policy import retry_delay
from runledger.core.jobs.setting_checks import check_failure_code, check_int32, check_whole_seconds
from runledger.core.json_form import JsonEncodable
from runledger.runtime.job_context import AsyncJobContext, ThreadJobContext
from runledger.runtime.payload_annotation import PayloadDecoder, payload_decoder

JobFunction = (
    Callable[[AsyncJobContext, Any], Awaitable[JsonEncodable]] | Callable[[ThreadJobContext, Any], JsonEncodable]
)
"""A handler as a function of context and payload, ``async`` or plain; its return value is the job's output.

The context may be annotated as ``JobContext``, or as what the kind of handler gets: ``AsyncJobContext`` or
``ThreadJobContext``.
"""

DeadLetterHook = Callable[[JobContext, Any, JobDeadLetterInfo], Awaitable[None]]
"""A handler's ``on_dead_letter``."""

F = TypeVar("F", bound=JobFunction)

_logger = logging.getLogger("runledger.registry")

_HANDLER_FORM = "name(context, payload)"
_HOOK_FORM = "on_dead_letter(self, context, payload, info)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredJob:
    """A job type with what serves it.

    Attributes:
        execute: Runs one attempt.
        is_async: Whether ``execute`` is a coroutine function; a plain one runs in a thread.
        on_dead_letter: Called after a dead letter was committed.
        retry_on: Exceptions of ``execute`` that are failures to retry; any other that is no ``JobFailure`` is a defect.
        definition: The defaults that a worker inserts at its start where the type has no definition yet.
        decode_payload: Makes what the annotation of ``execute`` asks for; ``None`` hands it the plain JSON value.
        decode_dead_payload: The same for ``on_dead_letter``, which has an annotation of its own.
    """

    execute: JobFunction
    is_async: bool
    on_dead_letter: DeadLetterHook | None
    retry_on: tuple[type[Exception], ...]
    definition: JobDefinition
    decode_payload: PayloadDecoder | None
    decode_dead_payload: PayloadDecoder | None


class JobRegistry:
    """Job types and their handlers, filled by the application and handed to a worker.

    ::

        registry = JobRegistry()

        @registry.job("email.send", max_attempts=5)
        async def send_email(context: JobContext, payload: Email) -> None: ...

    The annotation of the payload decides what the handler gets. With a dataclass, a ``TypedDict``, or anything else
    that JSON does not have in it, the payload is checked and decoded, and one that does not fit fails its job with
    ``job.payload_invalid``. Without an annotation, and with one of plain JSON types, the handler gets the JSON value as
    it was enqueued, unchecked.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, RegisteredJob] = {}
        self._retry_delays: dict[tuple[str, str], timedelta] = {}

    def job(
        self,
        job_type: str,
        *,
        max_attempts: int = 8,
        timeout: timedelta = timedelta(seconds=900),
        priority: int = 100,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler of a job type, in place of an earlier one.

        The function takes context and payload. An ``async`` one runs in the event loop; a plain one runs in a thread
        of its own, which cannot be stopped: when it overruns its timeout it is abandoned and keeps its slot until it
        returns, while a retry may run beside it. That a handler took the place of another is logged as
        ``registry.handler_replaced``; a :class:`JobCatalog` refuses it.

        Args:
            job_type: The type.
            max_attempts: Default of its jobs, see :class:`~runledger.core.jobs.records.JobDefinition`.
            timeout: Default of its jobs, in whole seconds.
            priority: Default of its jobs; higher runs first.
            retry_on: Classes of exceptions that pass by themselves: one that the function lets through is a retryable
                failure with the code ``job.handler_exception``. Any other that is no ``JobFailure`` counts as a defect,
                and is not retried.

        Raises:
            InvalidArgumentError: A value breaks a rule, the function does not take two positional arguments, or its
                payload has an annotation to which JSON cannot be decoded.
        """
        if callable(job_type):
            raise InvalidArgumentError("job_type", "is a function", 'write @registry.job("email.send")')
        definition = _definition(job_type, max_attempts=max_attempts, timeout=timeout, priority=priority)

        _check_retry_on(retry_on)

        def decorate(function: F) -> F:
            self._add(_registered(definition, execute=function, on_dead_letter=None, retry_on=retry_on))
            return function

        return decorate

    def register(
        self,
        handler: JobHandler,
        *,
        max_attempts: int = 8,
        timeout: timedelta = timedelta(seconds=900),
        priority: int = 100,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        """Register a handler object under its ``job_type``, in place of an earlier one, see :meth:`job`.

        Args:
            handler: The handler. Its ``execute`` may be ``async`` or plain, as with :meth:`job`.
            max_attempts: Default of its jobs.
            timeout: Default of its jobs, in whole seconds.
            priority: Default of its jobs; higher runs first.
            retry_on: As for :meth:`job`, of the exceptions of ``execute``.

        Raises:
            InvalidArgumentError: A value breaks a rule, the job type is blank or missing, a method cannot be called as
                a worker does, or a payload has an annotation to which JSON cannot be decoded.
        """
        _check_handler(handler)
        definition = _definition(
            getattr(handler, "job_type", ""), max_attempts=max_attempts, timeout=timeout, priority=priority
        )
        _check_retry_on(retry_on)
        hook = getattr(handler, "on_dead_letter", None)
        self._add(_registered(definition, execute=handler.execute, on_dead_letter=hook, retry_on=retry_on))

    def include(self, registry: JobRegistry) -> None:
        """Take over the handlers of another registry, as they are now, such as those of a module of the application.

        Raises:
            InvalidArgumentError: It is no registry, or has a handler for a type that there is already.
        """
        if not isinstance(registry, JobRegistry):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("registry", f"is of type {type(registry).__name__}", "pass a JobRegistry")
        for job_type in registry.registered_types():
            if job_type in self._jobs:
                raise InvalidArgumentError(
                    "registry", f"has another handler for {job_type!r}", "register each type once"
                )
        self._jobs |= registry._jobs
        self._retry_delays |= registry._retry_delays

    def get(self, job_type: str) -> RegisteredJob | None:
        """Return what is registered for a type, or ``None``."""
        return self._jobs.get(job_type)

    def registered_types(self) -> list[str]:
        """Return the types in order."""
        return sorted(self._jobs)

    def definitions(self) -> list[JobDefinition]:
        """Return the definitions of the registered types, in the order of the types."""
        return [self._jobs[job_type].definition for job_type in self.registered_types()]

    def register_retry_delay_override(self, job_type: str, failure_code: str, delay: timedelta) -> None:
        """Replace the retry policy's delay for one failure code of one type.

        It does not make a terminal failure retryable, and the reaper does not use it. The type may be registered later;
        one that is not when a worker starts is logged as ``registry.override_unused``.

        Raises:
            InvalidArgumentError: Type or code is no text or blank, or the delay is not positive.
        """
        check_identifier(job_type, field="job_type", blank_error=BlankJobTypeError)
        check_failure_code("failure_code", failure_code)
        if not isinstance(delay, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("delay", f"is of type {type(delay).__name__}", "pass a datetime.timedelta")
        if delay <= timedelta():
            raise InvalidArgumentError("delay", "is not positive", "give at least one millisecond")
        self._retry_delays[job_type, failure_code] = delay

    def retry_delay(self, job_type: str, job_id: UUID, attempt: int, failure: JobFailure) -> timedelta:
        """Return the delay after a failure: the handler's own, the override, or the policy's, in this order."""
        if failure.retry_in is not None:
            return failure.retry_in
        override = self._retry_delays.get((job_type, failure.code))
        return override if override is not None else retry_delay(job_id, attempt)

    def log_unused_overrides(self, worker_id: str) -> None:
        """Log the overrides of types that are not registered: most likely the type is misspelled.

        Args:
            worker_id: The worker that starts.
        """
        for job_type, failure_code in self._retry_delays:
            if job_type not in self._jobs:
                _logger.warning(
                    "registry.override_unused",
                    extra={"worker_id": worker_id, "job_type": job_type, "failure_code": failure_code},
                )

    def _add(self, registered: RegisteredJob) -> None:
        job_type = registered.definition.job_type
        if job_type in self._jobs:
            _logger.warning("registry.handler_replaced", extra={"job_type": job_type})
        self._jobs[job_type] = registered


def _registered(
    definition: JobDefinition,
    *,
    execute: JobFunction,
    on_dead_letter: DeadLetterHook | None,
    retry_on: tuple[type[Exception], ...],
) -> RegisteredJob:
    _check_callable(execute, field="function", form=_HANDLER_FORM, argument_count=2)
    if on_dead_letter is not None:
        _check_callable(on_dead_letter, field="on_dead_letter", form=_HOOK_FORM, argument_count=3)
    return RegisteredJob(
        execute=execute,
        is_async=_is_async(execute),
        on_dead_letter=on_dead_letter,
        retry_on=retry_on,
        definition=definition,
        decode_payload=payload_decoder(execute),
        decode_dead_payload=None if on_dead_letter is None else payload_decoder(on_dead_letter),
    )


def _definition(job_type: str, *, max_attempts: int, timeout: timedelta, priority: int) -> JobDefinition:
    # Under the names that the caller wrote; the record has its own.
    check_whole_seconds("timeout", timeout)
    check_int32("priority", priority)
    return JobDefinition(
        job_type=job_type, max_attempts=max_attempts, default_timeout=timeout, default_priority=priority
    )


def _check_retry_on(retry_on: object) -> None:
    if not isinstance(retry_on, tuple):
        raise InvalidArgumentError(
            "retry_on", f"is of type {type(retry_on).__name__}", "pass a tuple of exception classes"
        )
    for kind in cast("tuple[object, ...]", retry_on):
        if not inspect.isclass(kind) or not issubclass(kind, Exception):
            name = kind.__qualname__ if inspect.isclass(kind) else f"an object of type {type(kind).__qualname__}"
            raise InvalidArgumentError(
                "retry_on", f"contains {name}", "pass classes of exceptions, such as TimeoutError"
            )


def _check_handler(handler: object) -> None:
    if inspect.isclass(handler):
        raise InvalidArgumentError("handler", f"is the class {handler.__qualname__}", "pass an instance of it")
    if inspect.isroutine(handler):
        raise InvalidArgumentError("handler", "is a function", 'register it with @registry.job("email.send")')
    if not callable(getattr(handler, "execute", None)):
        raise InvalidArgumentError(
            "handler", f"is of type {type(handler).__name__}, which has no method execute", "pass a JobHandler"
        )


def _is_async(function: JobFunction) -> bool:
    # An object with an async __call__ is no coroutine function itself.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _check_callable(function: Callable[..., object], *, field: str, form: str, argument_count: int) -> None:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidArgumentError(
            field, f"{name} is a generator, of which a call runs nothing", "use return instead of yield"
        )
    try:
        inspect.signature(function).bind(*range(argument_count))
    except (TypeError, ValueError):  # ValueError: a builtin that does not tell its parameters
        pass
    else:
        _refuse_swapped(function, field=field, name=name, form=form)
        return
    raise InvalidArgumentError(
        field,
        f"{name} cannot be called with {argument_count} arguments",
        f"declare it as `async def {form}` or `def {form}`",
    )


def _refuse_swapped(function: Callable[..., object], *, field: str, name: str, form: str) -> None:
    """Refuse ``(payload, context)``: the handler would take one for the other, and each job would be a dead letter."""
    names = [parameter.name for parameter in inspect.signature(function).parameters.values()]
    if names[1:2] == ["context"]:
        raise InvalidArgumentError(field, f"{name} takes the context second", f"the first is the context: `def {form}`")
