"""Events are followed across a crash of the server."""

from __future__ import annotations

import time
from pathlib import Path

from runledger.client import SyncLedger
from runledger.core import JobDefinition
from runledger.embedded import EmbeddedServer
from tests.embedded.processes import TIMEOUT_SECONDS, Watched, postmaster_of


def test_a_reader_goes_on_after_a_crash_that_took_its_mark_back(data_dir: Path) -> None:
    """The transaction of a read writes nothing else, so what it was is lost unless the log was flushed since."""
    with EmbeddedServer.start(data_dir) as server:
        with SyncLedger.connect(server.url) as ledger:
            ledger.migrate()
            ledger.ensure_job_definitions([JobDefinition(job_type="t")])
            job_id = ledger.enqueue("t")
            # Each read begins anew and takes an id, so that the last mark is well beyond what is flushed.
            cursors = [ledger.read_events_after().next_cursor for _ in range(5)]
            with Watched(postmaster_of(data_dir)) as postmaster:
                postmaster.kill()
        with EmbeddedServer.start(data_dir) as recovered, SyncLedger.connect(recovered.url) as ledger:
            cursor, found = cursors[-1], []
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while not found:
                assert time.monotonic() < deadline, "the reader waits for ids that nobody takes"
                page = ledger.read_events_after(cursor)
                cursor, found = page.next_cursor, page.events

    assert [tailed.event.job_id for tailed in found] == [job_id]
