"""The loops that run jobs: worker, scheduler, reaper, and the supervisor that owns them."""

from runledger.runtime.catalog import JobCatalog
from runledger.runtime.config import JobsConfig
from runledger.runtime.job_context import AsyncJobContext, RunningJobContext, ThreadJobContext
from runledger.runtime.job_log import JobLogHandler
from runledger.runtime.lifecycle import LifecycleEvent, LifecycleEventKind, LifecycleObserver
from runledger.runtime.log_formatters import JsonLogFormatter, TextLogFormatter
from runledger.runtime.loops import run_reaper_loop, run_scheduler_loop, run_worker_loop
from runledger.runtime.observer_feed import ObserverFeed
from runledger.runtime.reaper import Reaper
from runledger.runtime.registry import JobRegistry
from runledger.runtime.scheduler import Scheduler
from runledger.runtime.settlement import SettlementReport, WorkerSettlement
from runledger.runtime.supervisor import Supervisor
from runledger.runtime.worker import Worker

__all__ = [
    "AsyncJobContext",
    "JobCatalog",
    "JobLogHandler",
    "JobRegistry",
    "JobsConfig",
    "JsonLogFormatter",
    "LifecycleEvent",
    "LifecycleEventKind",
    "LifecycleObserver",
    "ObserverFeed",
    "Reaper",
    "RunningJobContext",
    "Scheduler",
    "SettlementReport",
    "Supervisor",
    "TextLogFormatter",
    "ThreadJobContext",
    "Worker",
    "WorkerSettlement",
    "run_reaper_loop",
    "run_scheduler_loop",
    "run_worker_loop",
]
