"""What every background part of the runtime looks like from outside."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something that runs in the background of the event loop."""

    async def start(self) -> None:
        """Begin, and return once the service works."""
        ...

    async def stop(self) -> None:
        """Stop and return once nothing of the service runs any more."""
        ...

    def wake(self) -> None:
        """Look for work now instead of at the end of the wait."""
        ...

    async def run_once(self) -> int:
        """Do one round and return how much was done, in the unit of the service."""
        ...
