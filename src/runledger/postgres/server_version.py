"""The oldest PostgreSQL that the tables and statements are made for."""

from __future__ import annotations

from runledger.postgres.sql_errors import QueryErrorCategory, refusal

_OLDEST_MAJOR = 18


def check_server_version(server_version_num: int) -> None:
    """Refuse a server that lacks what the tables are made of, before the first statement that it cannot run.

    Args:
        server_version_num: What the server says of itself: 180004 is 18.4.

    Raises:
        QueryError: ``schema.server_too_old``.
    """
    major, minor = divmod(server_version_num, 10_000)
    if major < _OLDEST_MAJOR:
        raise refusal(
            QueryErrorCategory.VALIDATION,
            "schema.server_too_old",
            f"the server is PostgreSQL {major}.{minor}; Runledger needs PostgreSQL {_OLDEST_MAJOR}",
        )
