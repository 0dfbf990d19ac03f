# Written by `make sync-ledger` from ledger_part.py; do not edit.
"""What the parts of the ledger stand on, for blocking applications."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from runledger.postgres import Operation
from runledger.postgres.drivers.psycopg import Connection
from runledger.postgres.notices import Notices

T = TypeVar("T")


class SyncLedgerPart(ABC):
    """Some of the methods of a ledger, which are about one thing.

    :class:`~runledger.client.SyncLedger` consists of its parts and says where they run.
    """

    @abstractmethod
    def _run(self, operation: Operation[T], connection: Connection[Any] | None, notices: Notices | None = None) -> T:
        """Run an operation on the caller's connection, or without one in a transaction of its own.

        Args:
            operation: The operation to execute.
            connection: The caller's connection, or ``None`` for one of the pool.
            notices: What it has to tell, which is told afterwards.
        """

    @abstractmethod
    def _notices(self, connection: Connection[Any] | None) -> Notices | None:
        """Say how others are told: in the caller's transaction, which alone knows its commit, or after our own."""
