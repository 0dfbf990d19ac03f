"""What an application calls: the ledger, for asyncio and for blocking code."""

from runledger.client.ledger import Ledger
from runledger.client.sync_ledger import SyncLedger

__all__ = ["Ledger", "SyncLedger"]
