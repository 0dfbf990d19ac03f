"""SQL files as statements are made of them."""

from __future__ import annotations

import re

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


def test_a_block_stands_for_as_many_copies_as_are_asked_for() -> None:
    two, all_of_them = (
        SqlFile("jobs", "claim_jobs", copies=2).text("runledger"),
        SqlFile("jobs", "claim_jobs").text("s"),
    )

    assert [f"merged_types[{number}]" in two for number in (1, 2, 3)] == [True, True, False]
    assert two.count("merged_types[2]") == all_of_them.count("merged_types[2]") == all_of_them.count("merged_types[16]")
    for text in (two, all_of_them):
        assert not re.search(r"\{(for|n|end)", text)
