"""Operations of administrators: lists, counts and metrics, pausing of job types, and edits of what waits."""

from runledger.postgres.admin.pausing import pause_job_type, resume_job_type

__all__ = [
    "pause_job_type",
    "resume_job_type",
]
