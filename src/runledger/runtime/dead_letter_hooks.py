"""Call ``on_dead_letter`` of handlers, after the dead letter was committed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Sequence
from typing import Any

from runledger.core.jobs.handler import JobContext, JobDeadLetterInfo
from runledger.core.json_value import JsonValue
from runledger.runtime.registry import JobRegistry, RegisteredJob

_logger = logging.getLogger("runledger.worker")

_TIMEOUT_SECONDS = 10.0
_MAX_CONCURRENT = 8
_GRACE_SECONDS = 0.25


class DeadLetterHooks:
    """Runs hooks in the background: a few at a time, each within ten seconds, none able to hurt the caller.

    At most once and best effort: a crash after the commit loses the call, and a stop drops those not yet begun.

    Args:
        registries: Where the hooks are; of a type that several know, the first one's. Read at each call.
    """

    def __init__(self, registries: Sequence[JobRegistry]) -> None:
        self._registries = registries
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._tasks: set[asyncio.Task[None]] = set()

    def call_soon(self, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo) -> None:
        """Call the hook of the context's job type, if it has one."""
        known = (registry.get(context.job_type) for registry in self._registries)
        registered = next((one for one in known if one is not None), None)
        if registered is None or registered.on_dead_letter is None:
            return
        task = asyncio.create_task(self._call(registered, context, payload, info))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until no hook is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Give running hooks a moment, then cancel them."""
        tasks = set(self._tasks)
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=_GRACE_SECONDS)

    async def _call(
        self, registered: RegisteredJob, context: JobContext, payload: JsonValue, info: JobDeadLetterInfo
    ) -> None:
        hook: Any = registered.on_dead_letter
        decode = registered.decode_dead_payload
        async with self._slots:
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    called = hook(context, payload if decode is None else decode(payload), info)
                    if inspect.isawaitable(called):
                        await called
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                _logger.error(  # noqa: TRY400 (the traceback is attached; no task must die of it)
                    "worker.dead_letter_hook_failed",
                    extra={
                        "worker_id": context.worker_id,
                        "job_id": str(context.job_id),
                        "job_type": context.job_type,
                    },
                    exc_info=error,
                )
