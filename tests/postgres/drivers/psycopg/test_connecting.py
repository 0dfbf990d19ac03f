"""Addresses: what is read from them, and what is shown of them."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from runledger.core import InvalidArgumentError
from runledger.postgres.drivers.psycopg.connecting import (
    connection_parameters,
    describe_server,
    unreachable,
    uses_pooler,
)
from tests.postgres.job_queue import JobQueue

SECRET = "s3cr3t"


def test_what_an_address_says_wins_over_our_defaults_and_an_override_over_both() -> None:
    assert connection_parameters("host=db")["application_name"] == "runledger"
    assert connection_parameters("host=db application_name=app")["application_name"] == "app"
    assert connection_parameters("host=db application_name=app", application_name="mine")["application_name"] == "mine"
    assert connection_parameters("postgresql://db/app")["connect_timeout"] > 0
    assert connection_parameters("postgresql://db/app?connect_timeout=3")["connect_timeout"] == "3"


@pytest.mark.parametrize(
    ("url", "description"),
    [
        (f"postgresql://app:{SECRET}@db.example.org:6432/orders?sslmode=require", "db.example.org, port 6432"),
        (f"host=db.example.org dbname=orders user=app password={SECRET}", "db.example.org, port 5432"),
        ("postgresql:///orders?host=/run/postgresql", "/run/postgresql, port 5432"),
        ("dbname=orders", "the local socket, port 5432"),
    ],
    ids=["URL", "key and value", "socket", "nothing but a name"],
)
def test_a_description_names_host_port_and_database_only(url: str, description: str) -> None:
    assert describe_server(connection_parameters(url)) == f"host {description}, database orders"


@pytest.mark.parametrize(
    "url", [f"mysql://app:{SECRET}@db/orders", f"password={SECRET} unknown=1", f"password='{SECRET}"]
)
def test_an_address_that_libpq_does_not_understand_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        connection_parameters(url)

    assert caught.value.field == "database_url"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_pooler_is_told_by_two_different_process_ids_and_said_once(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """Not for each of the connections that a process has there."""
    with psycopg.connect(queue.url) as connection:
        own_pid = connection.info.backend_pid

        assert uses_pooler(connection, own_pid) is False
        assert caplog.messages == []
        assert uses_pooler(connection, own_pid + 1) is True
        database = connection.info.dbname
    with psycopg.connect(queue.url) as connection:
        assert uses_pooler(connection, connection.info.backend_pid + 1) is True

    assert caplog.messages == ["postgres.pooler_detected"]
    assert vars(caplog.records[0])["server"].endswith(f"database {database}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:p/ssw0rd@db.example/app",
        "postgresql://app:sec@ret@127.0.0.1/app",
        "postgresql://app:pa:ss/word@db.example/app",
    ],
)
def test_a_password_that_libpq_takes_for_a_place_is_not_shown(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="percent-encoded") as caught:
        describe_server(connection_parameters(url))

    assert not any(part in str(caught.value) for part in ("ssw0rd", "ret", "word@", "db.example"))


@pytest.mark.parametrize(
    ("parameter", "problem"),
    [
        ("port=65536", "has an impossible port"),
        ("port=0", "has an impossible port"),
        ("port=5432,99999 host=a,b", "has an impossible port"),
        ("connect_timeout=abc", "has a connect_timeout that is no whole number"),
        ("connect_timeout=''", "has a connect_timeout that is no whole number"),
        ("tcp_user_timeout=1s", "has a tcp_user_timeout that is no whole number"),
        ("keepalives_idle=99999999999", "has a keepalives_idle that is no whole number"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_connecting(parameter: str, problem: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        connection_parameters(f"password={SECRET} {parameter}")

    assert (caught.value.field, caught.value.problem) == ("database_url", problem)
    assert SECRET not in str(caught.value)


def test_numbers_that_libpq_takes_are_kept() -> None:
    parameters = connection_parameters("host=a,b,c port=1,,65535 connect_timeout=-1 keepalives=0")

    assert (parameters["port"], parameters["connect_timeout"], parameters["keepalives"]) == ("1,,65535", "-1", "0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('connection to server at "127.0.0.1", port 1 failed: Connection refused', "nothing listens there"),
        ('FATAL:  password authentication failed for user "app"', "the login was refused"),
        ("Verbindung verweigert", None),
    ],
)
def test_the_reason_of_a_refused_connection_is_in_words_of_ours(text: str, reason: str | None) -> None:
    error = unreachable({"host": "db"}, psycopg.OperationalError(text))

    assert error.reason == reason
    assert (f": {reason};" in str(error)) is (reason is not None)
    assert '"app"' not in str(error)


def test_documents_are_sent_as_utf8_whatever_the_address_says() -> None:
    assert connection_parameters("host=db client_encoding=LATIN1")["client_encoding"] == "UTF8"
