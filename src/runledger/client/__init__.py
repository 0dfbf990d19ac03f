"""What an application calls: the ledger, for asyncio and for blocking code."""

from runledger.client.ledger import Ledger
from runledger.client.runtime_configs import RuntimeConfig
from runledger.client.sync_ledger import SyncLedger
from runledger.client.sync_runtime_configs import SyncRuntimeConfig

__all__ = ["Ledger", "RuntimeConfig", "SyncLedger", "SyncRuntimeConfig"]
