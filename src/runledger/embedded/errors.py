"""The error of the embedded server."""

from __future__ import annotations

from runledger.core.errors import RunledgerError


class EmbeddedServerError(RunledgerError):
    """The embedded PostgreSQL server cannot be used.

    Codes:

    - ``embedded.binaries_missing``: no PostgreSQL binaries are installed.
    - ``embedded.binaries_unusable``: the account that runs the server cannot run the binaries.
    - ``embedded.account_unusable``: there is no account to run the server as, or it cannot be used.
    - ``embedded.directory_unsafe``: a directory belongs to, or is open to, somebody else.
    - ``embedded.data_dir_unusable``: the data directory holds something else, or cannot be made or entered.
    - ``embedded.init_failed``: ``initdb`` failed.
    - ``embedded.start_failed``: the server did not start; the message ends with the tail of its log.
    - ``embedded.not_durable``: a durable server was asked for, but it runs without durability.
    - ``embedded.database_failed``: a database could not be created.
    """
