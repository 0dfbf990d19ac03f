"""Which server the databases of tests are made on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

import psycopg
import pytest

from runledger.embedded import find_binaries
from runledger.testing import (
    DatabaseServer,
    EphemeralDatabaseError,
    ScopedEnv,
    create_ephemeral_database,
    database_server,
)
from runledger.testing.containers import start_container
from runledger.testing.server import shared_data_dir


class DiskUsage(NamedTuple):
    free: int


def test_server_of_the_environment_is_preferred(runledger_server: DatabaseServer) -> None:
    database = create_ephemeral_database("admin")
    with ScopedEnv.set([("RUNLEDGER_TEST_ADMIN_DATABASE_URL", database.url)]):
        server = database_server()
        assert server.admin_url == database.url
        assert not server.is_own
        other = create_ephemeral_database("elsewhere")
        with psycopg.connect(other.url) as connection:
            connection.execute("SELECT FROM runledger.job_queue")
        other.drop()
    assert database_server() == runledger_server


def test_server_without_uuidv7_is_refused() -> None:
    """TST-005."""
    old = create_ephemeral_database("old_server")
    with psycopg.connect(old.url) as connection:
        connection.execute("ALTER FUNCTION pg_catalog.uuidv7() RENAME TO not_yet_known")
    with ScopedEnv.set([("RUNLEDGER_TEST_ADMIN_DATABASE_URL", old.url)]):
        with pytest.raises(EphemeralDatabaseError, match=r"has no uuidv7\(\)") as caught:
            create_ephemeral_database("never")
        assert caught.value.code == "testing.server_unsupported"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "postgresql://u:hunter2@localhost:1/postgres",
            "cannot connect to PostgreSQL at host localhost, port 1, database postgres",
        ),
        (
            "nonsense-hunter2",
            "is not a PostgreSQL URL, or has a parameter or an escape that libpq does not know; write it as",
        ),
    ],
    ids=["nobody answers", "no URL"],
)
def test_an_unusable_url_is_told_by_its_variable_and_never_shown(url: str, problem: str, tmp_path: Path) -> None:
    """A fixed bug: pytest printed the arguments of psycopg's frames, and with them the password."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["runledger.testing.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text("def test_it(runledger_database):\n    pass\n")
    options = ["-p", "no:asyncio", "-p", "no:randomly", "--showlocals", "--full-trace", f"--rootdir={tmp_path}"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--tb=long", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "RUNLEDGER_TEST_ADMIN_DATABASE_URL": url},
        capture_output=True,
        check=False,
        text=True,
    )
    assert f"EphemeralDatabaseError: RUNLEDGER_TEST_ADMIN_DATABASE_URL: {problem}" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr
    with ScopedEnv.set([("RUNLEDGER_TEST_ADMIN_DATABASE_URL", url)]), pytest.raises(EphemeralDatabaseError) as caught:
        database_server()
    assert caught.value.code == "testing.server_unavailable"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_server_that_refuses_later_is_told_without_its_url(runledger_server: DatabaseServer) -> None:
    server = DatabaseServer(admin_url="postgresql://u:hunter2@localhost:1/postgres", is_own=False)
    with pytest.raises(EphemeralDatabaseError, match="host localhost, port 1, database postgres") as caught:
        server.connect()
    assert caught.value.code == "testing.server_unavailable"
    assert caught.value.__context__ is None
    assert "hunter2" not in f"{server!r}{caught.value}"
    assert runledger_server.admin_url not in repr(runledger_server)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="the system has no file system in memory")  # noqa: S108
@pytest.mark.parametrize(("free", "parent"), [(2 << 30, "/dev/shm"), (1 << 29, tempfile.gettempdir())])  # noqa: S108
def test_data_lies_in_memory_where_that_has_room(monkeypatch: pytest.MonkeyPatch, free: int, parent: str) -> None:
    def disk_usage(_path: Path) -> DiskUsage:
        return DiskUsage(free=free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    data_dir = shared_data_dir(find_binaries())
    assert data_dir.parent == Path(parent) / f"runledger-{os.geteuid()}"
    assert data_dir.name.startswith("test-")


def test_without_any_server_all_remedies_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "testcontainers.postgres", None)
    with pytest.raises(EphemeralDatabaseError, match="testcontainers") as caught:
        start_container()
    assert caught.value.code == "testing.server_unavailable"
    assert "runledger-pg[embedded]" in str(caught.value)
    assert "RUNLEDGER_TEST_ADMIN_DATABASE_URL" in str(caught.value)


def test_container_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_docker(image: str, **_options: object) -> NoReturn:
        raise RuntimeError(f"no Docker for {image}")

    module = ModuleType("testcontainers.postgres")
    module.__dict__["PostgresContainer"] = no_docker
    monkeypatch.setitem(sys.modules, "testcontainers", ModuleType("testcontainers"))
    monkeypatch.setitem(sys.modules, "testcontainers.postgres", module)
    with (
        ScopedEnv.set([("RUNLEDGER_TEST_PG_IMAGE", "postgres:19")]),
        pytest.raises(EphemeralDatabaseError, match="no Docker for postgres:19") as caught,
    ):
        start_container()
    assert caught.value.code == "testing.server_unavailable"
