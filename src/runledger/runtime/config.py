"""Settings of the loops, from code or from the environment."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from runledger.core.database_text import unstorable_text_problem
from runledger.core.errors import ConfigError
from runledger.core.printable import printable
from runledger.postgres.jobs.lease import LONGEST_LEASE
from runledger.postgres.uuid7 import uuid7

_logger = logging.getLogger("runledger.settings")

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_LARGEST = timedelta.max // timedelta(seconds=1)  # more seconds than this no duration can hold

_INT32_MAX = 2**31 - 1

_UNIT = re.compile(r"_(?:MS|MILLIS|MILLISECONDS|S|SEC|SECS|SECONDS|M|MIN|MINS|MINUTES|H|HOURS)$")
_DURATIONS: Mapping[str, str] = {
    _UNIT.sub("", name): name
    for name in (
        "JOBS_POLL_INTERVAL_MS",
        "JOBS_LEASE_TTL_SECONDS",
        "JOBS_REAPER_INTERVAL_SECONDS",
        "JOBS_REAPER_RETRY_DELAY_MS",
        "JOBS_SCHEDULE_POLL_INTERVAL_SECONDS",
    )
}


def new_worker_id() -> str:
    """Return a worker id that no other process has."""
    return f"worker-{uuid7()}"


_TYPES: Mapping[str, type] = {
    "worker_id": str,
    "poll_interval": timedelta,
    "claim_batch_size": int,
    "claim_max_payload_bytes": int,
    "lease_ttl": timedelta,
    "max_global_concurrency": int,
    "max_concurrency_by_type": Mapping,
    "reaper_interval": timedelta,
    "reaper_batch_size": int,
    "reaper_retry_delay": timedelta,
    "schedule_poll_interval": timedelta,
    "scheduler_batch_size": int,
    "shutdown_timeout": timedelta,
    "listens": bool,
}
_A: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    timedelta: "a datetime.timedelta",
    bool: "True or False",
    Mapping: "a dict of job types and numbers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsConfig:
    """Settings of worker, reaper and scheduler.

    Attributes:
        worker_id: Unique among live workers. Two processes must never share one.
        poll_interval: Wait after a claim that found less than it asked for.
        claim_batch_size: Jobs that one claim takes at most.
        claim_max_payload_bytes: A claim takes no further job once its payloads have reached this size.
        lease_ttl: How long a claimed job stays with a worker that no longer renews it. Renewals come every third.
        max_global_concurrency: Jobs that run at once in this worker.
        max_concurrency_by_type: Fewer than that for single types: job type and number. Each worker keeps its own.
        reaper_interval: Wait between two passes of the reaper.
        reaper_batch_size: Expired leases that one transaction of the reaper takes at most; a pass goes on until none
            is left.
        reaper_retry_delay: Time until a job whose lease expired is due again.
        schedule_poll_interval: Longest wait between two passes of the scheduler, which sleeps until the next schedule
            is due; how late it hears of schedules that were changed.
        scheduler_batch_size: Due schedules that one transaction of the scheduler takes at most; a pass goes on until
            none is left.
        shutdown_timeout: How long running handlers may go on after a stop was asked for; then they are canceled.
        listens: Whether the worker hears of new and canceled jobs by LISTEN, on one more connection, and not by polls
            and renewals alone.
    """

    worker_id: str = field(default_factory=new_worker_id)
    poll_interval: timedelta = timedelta(milliseconds=500)
    claim_batch_size: int = 16
    claim_max_payload_bytes: int = 16 * 1024 * 1024
    lease_ttl: timedelta = timedelta(seconds=60)
    max_global_concurrency: int = 32
    max_concurrency_by_type: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    reaper_interval: timedelta = timedelta(seconds=15)
    reaper_batch_size: int = 500
    reaper_retry_delay: timedelta = timedelta(seconds=30)
    schedule_poll_interval: timedelta = timedelta(seconds=30)
    scheduler_batch_size: int = 100
    shutdown_timeout: timedelta = timedelta(seconds=30)
    listens: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        self.validate()
        # A copy, since the caller's may change.
        object.__setattr__(self, "max_concurrency_by_type", dict(self.max_concurrency_by_type))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the ``JOBS_*`` variables.

        A missing or unparsable value gives the default; one below the minimum is raised to it. A negative number is
        unparsable for intervals and concurrency, and raised to the minimum for the batch size, the lease and the
        reaper's delay. Either is logged with the name of the variable, never with its value; an empty
        variable counts as missing.

        Args:
            environ: The variables; ``os.environ`` when not given.

        Raises:
            ConfigError: A number is too large for its field.
        """
        env = os.environ if environ is None else environ
        _warn_of_other_units(env)
        worker_id = env.get("JOBS_WORKER_ID", "")
        return cls(
            worker_id=worker_id if worker_id.strip() else new_worker_id(),
            poll_interval=timedelta(milliseconds=_unsigned(env, "JOBS_POLL_INTERVAL_MS", default=500, minimum=1)),
            claim_batch_size=_signed(env, "JOBS_CLAIM_BATCH_SIZE", default=16, minimum=1),
            lease_ttl=timedelta(seconds=_signed(env, "JOBS_LEASE_TTL_SECONDS", default=60, minimum=10)),
            max_global_concurrency=_unsigned(env, "JOBS_MAX_GLOBAL_CONCURRENCY", default=32, minimum=1),
            reaper_interval=timedelta(seconds=_unsigned(env, "JOBS_REAPER_INTERVAL_SECONDS", default=15, minimum=1)),
            reaper_retry_delay=timedelta(
                milliseconds=_signed(env, "JOBS_REAPER_RETRY_DELAY_MS", default=30_000, minimum=1_000)
            ),
            schedule_poll_interval=timedelta(
                seconds=_unsigned(env, "JOBS_SCHEDULE_POLL_INTERVAL_SECONDS", default=30, minimum=1)
            ),
        )

    def validate(self) -> None:
        """Refuse settings that cannot work. The constructor and the loops call this.

        Raises:
            ConfigError: The message names the field and the rule.
        """
        self._check_types()
        if not self.worker_id.strip():
            raise ConfigError("worker_id is blank; leave it out to get a unique one")
        problem = unstorable_text_problem(self.worker_id)
        if problem is not None:
            raise ConfigError(f"worker_id {problem}, which PostgreSQL cannot store")
        for name in (
            "claim_batch_size",
            "claim_max_payload_bytes",
            "max_global_concurrency",
            "reaper_batch_size",
            "scheduler_batch_size",
        ):
            if not 1 <= getattr(self, name) <= _INT32_MAX:
                raise ConfigError(f"{name} must be at least 1 and fit 32 bits")
        self._check_limits_of_types()
        for name in ("poll_interval", "lease_ttl", "reaper_interval", "schedule_poll_interval"):
            if getattr(self, name) < timedelta(milliseconds=1):
                raise ConfigError(f"{name} must be at least one millisecond")
        if self.lease_ttl > LONGEST_LEASE:
            raise ConfigError("lease_ttl must be at most 7 days; a lease is renewed while its job runs")
        for name in ("reaper_retry_delay", "shutdown_timeout"):
            if getattr(self, name) < timedelta():
                raise ConfigError(f"{name} must not be negative")

    def _check_limits_of_types(self) -> None:
        for job_type, limit in self.max_concurrency_by_type.items():
            if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _INT32_MAX:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(
                    f"max_concurrency_by_type must give a whole number of at least 1 for {printable(str(job_type))}; "
                    "leave a type out of the registry to run none of its jobs"
                )

    def _check_types(self) -> None:
        for name, kind in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ConfigError(f"{name} is of type {type(value).__name__}; pass {_A[kind]}")


def _warn_of_other_units(environ: Mapping[str, str]) -> None:
    """Tell of variables that are none, but for their unit; nobody would notice that the default is used."""
    for name in sorted(environ):
        stem = _UNIT.sub("", name)
        if stem in _DURATIONS and name != _DURATIONS[stem]:
            _logger.warning("settings.variable_unknown", extra={"variable": name, "meant": _DURATIONS[stem]})


def _signed(environ: Mapping[str, str], name: str, *, default: int, minimum: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if _INTEGER.fullmatch(text) is None or abs(int(text)) > _LARGEST:
        _logger.warning("settings.variable_ignored", extra={"variable": name})
        return default
    if int(text) < minimum:
        _logger.warning("settings.variable_raised", extra={"variable": name, "minimum": minimum})
    return max(int(text), minimum)


def _unsigned(environ: Mapping[str, str], name: str, *, default: int, minimum: int) -> int:
    if environ.get(name, "").startswith("-"):
        # A sign makes an unsigned number unparsable, so it gives the default.
        _logger.warning("settings.variable_ignored", extra={"variable": name})
        return default
    return _signed(environ, name, default=default, minimum=minimum)
