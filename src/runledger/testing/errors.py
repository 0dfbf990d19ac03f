"""The error of the test kit."""

from __future__ import annotations

from runledger.core.errors import RunledgerError


class EphemeralDatabaseError(RunledgerError):
    """No database for a test can be made.

    Codes: ``testing.server_unavailable`` when there is no server to make it on,
    ``testing.server_unsupported`` when the server lacks something that Runledger needs.
    """
