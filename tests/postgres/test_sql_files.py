"""SQL files as statements are made of them."""

from __future__ import annotations

import pytest

from runledger.core import InvalidArgumentError
from runledger.postgres.sql_files import SqlFile

FILE = SqlFile("jobs", "lock_job")


def test_the_schema_is_quoted_wherever_it_is_named() -> None:
    text = FILE.text("Other schema")

    assert 'FROM "Other schema".job_queue AS q' in text
    assert "{schema}" not in text


def test_comments_are_not_sent() -> None:
    assert "--" not in FILE.text("runledger")
    assert FILE.text("runledger").startswith("WITH input AS")


def test_an_impossible_schema_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "schema"):
        FILE.text('a"b')
