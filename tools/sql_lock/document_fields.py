"""Which fields of its input document a statement reads, told from its text.

PostgreSQL knows the parameter as one ``jsonb`` and no more, so the fields are read from the few forms in which our
statements take a document apart. A JSON operator in any other form is an error: no field may go unseen. Fields are
written as paths:

- ``worker_id``: a scalar, or a JSON value taken as it is,
- ``job_types[]``: the items of an array of scalars,
- ``jobs[].id``: a member of each object in an array,
- ``jobs.*.attempt``: a member of each value in an object that is keyed by id.

An object that a statement builds for itself, to look up what it has worked out for a row, is none of the document.
"""

from __future__ import annotations

import re

_MEMBER = r"(?:->>?|\?)\s*'(?P<field>\w+)'"
_DOCUMENT_FIELD = re.compile(r"\bdoc\s*" + _MEMBER)
# The rows of an array of objects; the column list names the members.
_RECORDSET = re.compile(
    r"jsonb_to_recordset\(\s*(?:\w+\.)?doc\s*->\s*'(?P<field>\w+)'\s*\)\s*AS\s*(?:\w+\s*)?\((?P<columns>[^()]*)\)"
)
_ARRAY = re.compile(r"jsonb_array_elements(?:_text)?\(\s*(?:\w+\.)?doc\s*->\s*'(?P<field>\w+)'\s*\)")
# An object keyed by id is named once, its keys are read under that name, its values by the id of a row.
_NAMED_FIELD = re.compile(r"\bdoc\s*->\s*'(?P<field>\w+)'\s+AS\s+(?P<alias>\w+)")
_KEYS = re.compile(r"jsonb_object_keys\(\s*(?P<alias>\w+)\s*\)")
_VALUE = re.compile(r"->\s*\w+\.\w+::text\s+AS\s+item\b")
_VALUE_FIELD = re.compile(r"(?:\bitem|->\s*\w+\.\w+::text)\s*" + _MEMBER)

# What a statement has put together itself, by the id of a row: one value, or an array of several.
_OWN_VALUE = re.compile(r"->>\s*\w+\.\w+::text\b|->\s*\w+\.\w+::text\s+AS\s+change\b|\bchange\s*->>\s*\d")

_LITERAL = re.compile(r"'[^']*'")
_JSON_ACCESS = re.compile(r"->>?|#>>?|\?[|&]?|@[>?@]|<@|\bjsonb?_(?:populate|to_record|path|each|query|value|table)\w*")


class UnknownFormError(Exception):
    """A statement takes its document apart in a form that this module does not know."""


def document_fields(sql: str) -> list[str]:
    """Return the sorted paths of the fields that a statement, given without comments, reads from its document.

    Raises:
        UnknownFormError: A JSON operator stands where no known form has one.
    """
    text = _UnreadText(sql)
    fields: set[str] = set()
    containers: set[str] = set()
    for match in text.take(_RECORDSET):
        containers.add(match["field"])
        fields |= {f"{match['field']}[].{column.split()[0]}" for column in match["columns"].split(",")}
    for match in text.take(_ARRAY):
        containers.add(match["field"])
        fields.add(f"{match['field']}[]")
    keyed = _keyed_object(sql)
    if keyed is not None:
        containers.add(keyed)
        fields |= {f"{keyed}.*.{match['field']}" for match in text.take(_VALUE_FIELD)}
        text.take(_VALUE)
    # `doc -> 'job_types' IS NULL` asks whether the list is there; the path of its items says so already.
    fields |= {match["field"] for match in text.take(_DOCUMENT_FIELD)} - containers
    text.take(_OWN_VALUE)
    text.check_read()
    return sorted(fields)


def _keyed_object(sql: str) -> str | None:
    aliases = {match["alias"] for match in _KEYS.finditer(sql)}
    names = {match["field"] for match in _NAMED_FIELD.finditer(sql) if match["alias"] in aliases}
    if len(names) > 1:
        raise UnknownFormError("more than one object is keyed by id")
    return names.pop() if names else None


class _UnreadText:
    """A statement from which each form that was recognised is blanked out."""

    def __init__(self, sql: str) -> None:
        self._text = sql

    def take(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        matches = list(pattern.finditer(self._text))
        self._text = pattern.sub(" ", self._text)
        return matches

    def check_read(self) -> None:
        left = _JSON_ACCESS.search(_LITERAL.sub("''", self._text))
        if left is not None:
            raise UnknownFormError(
                f"{left[0]!r} takes JSON apart in a form that tools/sql_lock/document_fields.py does not know; "
                "write it in a known form, or teach the module the new one"
            )
