from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from runledger.testing.database_name import ephemeral_name, maker_of, with_database


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("orders", "orders"),
        ("Orders-API v2", "orders_api_v2"),
        ("a--__b", "a_b"),
        ("test_claim[two jobs]", "test_claim_two_jobs_"),
        ("größe", "gr_e"),
        ("2nd", "db_2nd"),
        ("", "db"),
        ("!!!", "_"),
        ("x" * 40, "x" * 24),
        ("1" * 40, "db_" + "1" * 24),
    ],
)
def test_prefix_is_cleaned(prefix: str, expected: str) -> None:
    """TST-002."""
    assert ephemeral_name(prefix, process_id=71, number=3) == f"{expected}_71_3"


def test_maker_is_read_from_the_name() -> None:
    assert maker_of(ephemeral_name("Orders 7", process_id=71, number=3)) == 71


@pytest.mark.parametrize("name", ["postgres", "template1", "orders", "runledger_template_0123456789012345", "x_1"])
def test_other_names_have_no_maker(name: str) -> None:
    assert maker_of(name) is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alice:p%40ss@db.example:5433/postgres?sslmode=require",
        "postgresql://alice:p%40ss@db.example:5433?sslmode=require",
        "postgres://alice:p%40ss@db.example:5433/postgres?dbname=other&sslmode=require",
        "host=db.example port=5433 user=alice password=p@ss dbname=postgres sslmode=require",
    ],
)
def test_only_the_database_is_exchanged(url: str) -> None:
    assert conninfo_to_dict(with_database(url, "a b_1_2")) == {
        "host": "db.example",
        "port": "5433",
        "user": "alice",
        "password": "p@ss",
        "dbname": "a b_1_2",
        "sslmode": "require",
    }


def test_socket_directory_in_the_parameters_is_kept() -> None:
    url = with_database("postgresql://postgres@/postgres?host=/run/a%2Cb%20c&port=5432", "x_1_2")
    assert url == "postgresql://postgres@/x_1_2?host=/run/a%2Cb%20c&port=5432"
