"""Servers that a test may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outages.server import OutageServer, made_data_dir, outage_server


@pytest.fixture(scope="session")
def server_data() -> Iterator[Path]:
    """The data of a server that has never run but for being made."""
    with made_data_dir() as data_dir:
        yield data_dir


@pytest.fixture
def server(server_data: Path) -> Iterator[OutageServer]:
    """A server of this test alone."""
    with outage_server(server_data) as server:
        yield server
