"""Wait a moment, in either world."""

from __future__ import annotations

import asyncio
import time


async def pause(seconds: float) -> None:
    """Let others run for so long."""
    await asyncio.sleep(seconds)


def sync_pause(seconds: float) -> None:
    """Block for so long."""
    time.sleep(seconds)
