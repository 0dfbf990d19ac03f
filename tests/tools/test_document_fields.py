"""Reading the fields of a document from the text of a statement."""

from __future__ import annotations

import pytest

from tools.sql_lock.document_fields import UnknownFormError, document_fields

INPUT = "WITH input AS (SELECT $1::jsonb AS doc) "
KEYED = INPUT + "SELECT doc -> 'jobs' AS jobs, doc ->> 'worker_id' AS worker_id, jsonb_object_keys(jobs) "


@pytest.mark.parametrize(
    ("sql", "fields"),
    [
        (INPUT + "SELECT 1 FROM input", []),
        (INPUT + "SELECT (doc ->> 'limit')::bigint, doc->'reason', doc ? 'now' FROM input", ["limit", "now", "reason"]),
        (INPUT + "SELECT doc ->> 'a', doc ->> 'a' FROM input", ["a"]),
        (
            INPUT + "SELECT doc -> 'types' IS NULL, ARRAY(SELECT jsonb_array_elements_text(doc -> 'types') FROM input)",
            ["types[]"],
        ),
        (
            INPUT + "SELECT * FROM input, jsonb_to_recordset(input.doc -> 'jobs') AS i (id uuid,\n payload jsonb)",
            ["jobs[].id", "jobs[].payload"],
        ),
        (
            INPUT + "SELECT * FROM input, ROWS FROM (jsonb_to_recordset(doc -> 'jobs') AS (id uuid)) WITH ORDINALITY",
            ["jobs[].id"],
        ),
        (
            KEYED + "SELECT (SELECT jobs FROM parameter) -> q.id::text AS item, item ->> 'attempt', item ? 'output'",
            ["jobs.*.attempt", "jobs.*.output", "worker_id"],
        ),
        (
            KEYED + "SELECT (SELECT jobs FROM parameter) -> q.id::text ->> 'kind'",
            ["jobs.*.kind", "worker_id"],
        ),
        (INPUT + "SELECT 'a -> b' FROM input", []),
    ],
)
def test_the_known_forms_are_read(sql: str, fields: list[str]) -> None:
    assert document_fields(sql) == fields


@pytest.mark.parametrize(
    "sql",
    [
        INPUT + "SELECT doc #>> '{a,b}' FROM input",
        INPUT + "SELECT doc -> 'a' ->> 'b' FROM input",
        INPUT + "SELECT other ->> 'b' FROM input",
        INPUT + "SELECT * FROM jsonb_to_record(doc) AS r (a text)",
        INPUT + "SELECT doc @> '{}' FROM input",
        INPUT + "SELECT item ->> 'attempt' FROM input",
        KEYED + "SELECT doc -> 'steps' AS steps, jsonb_object_keys(steps)",
    ],
)
def test_another_form_is_refused_so_that_no_field_goes_unseen(sql: str) -> None:
    with pytest.raises(UnknownFormError):
        document_fields(sql)
