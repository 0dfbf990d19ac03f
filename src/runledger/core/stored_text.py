"""Enumerations whose members are texts in the database."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from runledger.core.errors import UnknownStoredTextError


class StoredTextEnum(StrEnum):
    """Base of the stored enumerations: a member is its stored text, and that text leads back to it."""

    @classmethod
    def from_stored(cls, text: str) -> Self:
        """Return the member with exactly this stored text.

        Raises:
            UnknownStoredTextError: There is none; case and whitespace count.
        """
        try:
            return cls(text)
        except ValueError:
            pass
        # Raised outside the except block: the ValueError quotes the text, and as a context it would be
        # printed.
        raise UnknownStoredTextError(cls.__name__)
