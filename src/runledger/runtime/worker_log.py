"""Log records that name the worker they are about."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class WorkerLog(logging.LoggerAdapter[logging.Logger]):
    """A logger of one part of one worker. Adds ``worker_id`` to every record.

    Several workers may run in a process, and the name of the logger is the same for all.

    Args:
        part: The part, as in ``runledger.<part>``.
        worker_id: The worker.
    """

    def __init__(self, part: str, worker_id: str) -> None:
        super().__init__(logging.getLogger(f"runledger.{part}"), {"worker_id": worker_id})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:  # noqa: ANN401 (as in the standard library)
        """Join the fields of a record to those of the worker; the adapter of the standard library drops them."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
