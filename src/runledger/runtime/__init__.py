"""The loops that run jobs: worker, reaper, and the supervisor that owns them."""

from runledger.runtime.config import JobsConfig
from runledger.runtime.execution import RunningJobContext
from runledger.runtime.loops import run_reaper_loop, run_worker_loop
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.supervisor import Supervisor
from runledger.runtime.worker import Worker

__all__ = [
    "JobRegistry",
    "JobsConfig",
    "Reaper",
    "RunningJobContext",
    "Supervisor",
    "Worker",
    "run_reaper_loop",
    "run_worker_loop",
]
