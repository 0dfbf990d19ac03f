"""What the parts of a supervisor look like to it."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """Something that runs in the background of the event loop."""

    @property
    def is_live(self) -> bool:
        """Whether its loop runs."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it can do its work: live, not stopping, reaching the database."""
        ...

    async def start(self) -> None:
        """Begin, and return once the service works."""
        ...

    async def stop(self) -> object:
        """Stop and return once nothing of the service runs any more."""
        ...

    async def until_ended(self) -> None:
        """Wait until it ends, and raise what ended it if that was not a stop."""
        ...

    def wake(self) -> None:
        """Look for work now instead of at the end of the wait."""
        ...

    async def run_once(self) -> int:
        """Do one round and return how much was done, in the unit of the service."""
        ...
