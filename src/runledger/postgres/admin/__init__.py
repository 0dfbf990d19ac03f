"""Operations of administrators.

Lists, counts and metrics, pausing of job types, edits of what waits, the events of all jobs.
"""

from runledger.postgres.admin.dead_letters import list_dead_letters
from runledger.postgres.admin.event_tail import find_newest_event_cursor, read_events_after
from runledger.postgres.admin.job_lists import count_jobs, get_job_summaries, list_jobs
from runledger.postgres.admin.metrics import get_job_metrics
from runledger.postgres.admin.pausing import pause_job_type, resume_job_type
from runledger.postgres.admin.payload_edits import edit_job_payload

__all__ = [
    "count_jobs",
    "edit_job_payload",
    "find_newest_event_cursor",
    "get_job_metrics",
    "get_job_summaries",
    "list_dead_letters",
    "list_jobs",
    "pause_job_type",
    "read_events_after",
    "resume_job_type",
]
