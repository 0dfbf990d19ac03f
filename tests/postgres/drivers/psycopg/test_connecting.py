"""Addresses: what is read from them, and what is shown of them."""

from __future__ import annotations

import traceback

import psycopg
import pytest

from runledger.core import InvalidArgumentError
from runledger.postgres.drivers.psycopg.connecting import connection_parameters, describe_server, uses_pooler
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


def test_a_pooler_is_told_by_two_different_process_ids(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(queue.url) as connection:
        own_pid = connection.info.backend_pid

        assert uses_pooler(connection, own_pid) is False
        assert caplog.messages == []
        assert uses_pooler(connection, own_pid + 1) is True

    assert caplog.messages == ["postgres.pooler_detected"]


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


def test_documents_are_sent_as_utf8_whatever_the_address_says() -> None:
    assert connection_parameters("host=db client_encoding=LATIN1")["client_encoding"] == "UTF8"
