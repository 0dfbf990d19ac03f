"""Operations of administrators: lists, counts and metrics, pausing of job types, and edits of what waits."""

from runledger.postgres.admin.dead_letters import list_dead_letters
from runledger.postgres.admin.job_lists import count_jobs, get_job_summaries, list_jobs
from runledger.postgres.admin.metrics import get_job_metrics
from runledger.postgres.admin.pausing import pause_job_type, resume_job_type
from runledger.postgres.admin.payload_edits import edit_job_payload

__all__ = [
    "count_jobs",
    "edit_job_payload",
    "get_job_metrics",
    "get_job_summaries",
    "list_dead_letters",
    "list_jobs",
    "pause_job_type",
    "resume_job_type",
]
