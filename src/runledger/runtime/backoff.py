"""How long to wait before asking a database again that did not answer."""

from __future__ import annotations

import random

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 5.0


class Backoff:
    """Doubling waits with a random part, so that many workers do not return to a restarted server at once."""

    def __init__(self) -> None:
        self._seconds = 0.0

    @property
    def is_first(self) -> bool:
        """Whether nothing has failed since the last success; the moment to log loudly, once."""
        return self._seconds == 0.0

    def succeeded(self) -> None:
        """Start over."""
        self._seconds = 0.0

    def failed(self) -> float:
        """Return the seconds to wait now."""
        self._seconds = min(max(self._seconds * 2, _FIRST_SECONDS), _LONGEST_SECONDS)
        return self._seconds * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)
