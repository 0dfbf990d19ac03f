"""What an application calls: the ledger, for asyncio and for blocking code."""

from runledger.client.ledger import Ledger
from runledger.client.runtime_configs import RuntimeConfig
from runledger.client.sync_ledger import SyncLedger
from runledger.client.sync_runtime_configs import SyncRuntimeConfig
from runledger.client.sync_workflow_run_handle import SyncWorkflowRunHandle
from runledger.client.workflow_run_handle import WorkflowRunHandle

__all__ = [
    "Ledger",
    "RuntimeConfig",
    "SyncLedger",
    "SyncRuntimeConfig",
    "SyncWorkflowRunHandle",
    "WorkflowRunHandle",
]
