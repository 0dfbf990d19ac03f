"""The log of a worker on standard error."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

from runledger.runtime import JsonLogFormatter, TextLogFormatter


@contextlib.contextmanager
def logging_to_standard_error(*, level: str, style: str) -> Generator[None]:
    """Write the records of all loggers, the application's too, to standard error.

    Args:
        level: Name of the lowest level that is written.
        style: ``text`` or ``json``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLogFormatter() if style == "json" else TextLogFormatter())
    root = logging.getLogger()
    former_level = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.setLevel(former_level)
        root.removeHandler(handler)
