"""Fixtures for tests that need a database.

Load them in the ``conftest.py`` at the top of the tests::

    pytest_plugins = ["runledger.testing.pytest_plugin"]

Processes of pytest-xdist share the server and the template, and have databases of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runledger.testing.ephemeral import EphemeralDatabase, create_ephemeral_database
from runledger.testing.server import DatabaseServer, database_server


@pytest.fixture(scope="session")
def runledger_server() -> DatabaseServer:
    """The PostgreSQL server of this test run, for tests that make databases of their own."""
    return database_server()


@pytest.fixture
def runledger_database(
    runledger_server: DatabaseServer,  # noqa: ARG001 - its problems are then reported as its own
    request: pytest.FixtureRequest,
) -> Iterator[EphemeralDatabase]:
    """A fresh, migrated database, named after the test and dropped when it ends."""
    database = create_ephemeral_database(request.node.name)
    yield database
    database.drop()
