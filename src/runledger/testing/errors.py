"""The errors of the test kit."""

from __future__ import annotations

from runledger.core.errors import RunledgerError
from runledger.core.printable import shortened


class EphemeralDatabaseError(RunledgerError):
    """No database for a test can be made.

    Codes: ``testing.server_unavailable`` when there is no server to make it on,
    ``testing.server_unsupported`` when the server lacks something that Runledger needs.
    """


class EndlessJobsError(RunledgerError):
    """Jobs were carried out, and more became due, until there were too many attempts: ``testing.jobs_without_end``."""

    def __init__(self, max_attempts: int, job_type: str) -> None:
        super().__init__(
            f"more than {max_attempts} attempts, and still jobs are due, at last of the type '{shortened(job_type)}'; "
            "look for a handler that enqueues its own type, or pass a larger max_attempts",
            code="testing.jobs_without_end",
        )
