"""What a block with an open transaction must be when it ends, so that its COMMIT commits."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from runledger.core.errors import InvalidArgumentError


def check_still_open(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Refuse the end of a block in whose transaction nothing can be committed any more.

    Raises:
        psycopg.errors.InFailedSqlTransaction: A statement failed, and the block went on over it.
        InvalidArgumentError: The block ended the transaction itself.
    """
    status = connection.info.transaction_status
    if status == TransactionStatus.INERROR:
        # What PostgreSQL would say to any further statement. Its COMMIT would be a silent ROLLBACK.
        raise psycopg.errors.InFailedSqlTransaction(
            "a statement of the transaction failed, so nothing can be committed"
        )
    if status == TransactionStatus.IDLE:
        raise InvalidArgumentError(
            "connection", "has no open transaction any more", "leave COMMIT and ROLLBACK to the block"
        )
