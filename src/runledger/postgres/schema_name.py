"""The name of the schema that holds Runledger's objects."""

from __future__ import annotations

from runledger.core.errors import InvalidArgumentError

DEFAULT_SCHEMA = "runledger"

_MAX_IDENTIFIER_BYTES = 63
_UNQUOTABLE = frozenset("'\"\\$")


def quote_schema(schema: str) -> str:
    """Return the schema name as a quoted SQL identifier.

    Raises:
        InvalidArgumentError: PostgreSQL could not have a schema of this name.
    """
    if not schema or not schema.isprintable() or _UNQUOTABLE.intersection(schema):
        # The quoted name also stands inside literals and function bodies of the migrations.
        raise InvalidArgumentError(
            "schema", "is empty or holds a quote, backslash, dollar or control character", "choose a plainer name"
        )
    if len(schema.encode("utf-8", "replace")) > _MAX_IDENTIFIER_BYTES:
        raise InvalidArgumentError("schema", f"is longer than {_MAX_IDENTIFIER_BYTES} bytes", "choose a shorter name")
    if schema.startswith("pg_"):
        raise InvalidArgumentError(
            "schema", "begins with 'pg_', which PostgreSQL keeps for itself", "choose another name"
        )
    return f'"{schema}"'
