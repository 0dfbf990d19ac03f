"""The name of the schema that holds Runledger's objects, and that of its notification channel."""

from __future__ import annotations

import hashlib
import re

from runledger.core.errors import InvalidArgumentError

DEFAULT_SCHEMA = "runledger"

_MAX_IDENTIFIER_BYTES = 63
_CHANNEL_PREFIX = "runledger_"
# With a character that no other channel has: a schema may be called "runs_a", too.
_RUN_CHANNEL_PREFIX = "runledger:runs:"
_PLAIN_NAME = re.compile("[a-z0-9_]+")
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


def channel_of(schema: str) -> str:
    """Return the channel of the notifications about the jobs of a schema: plain ASCII of at most 63 bytes.

    Channels belong to the database, so the schema is in the name. One that is too long for it, or has characters that
    a session of another encoding may not have, is in it as a digest.
    """
    return _channel(_CHANNEL_PREFIX, schema)


def run_channel_of(schema: str) -> str:
    """Return the channel that names the workflow runs of a schema that have ended, made like the other."""
    return _channel(_RUN_CHANNEL_PREFIX, schema)


def _channel(prefix: str, schema: str) -> str:
    channel = prefix + schema
    if _PLAIN_NAME.fullmatch(schema) and len(channel) <= _MAX_IDENTIFIER_BYTES:
        return channel
    return prefix + hashlib.sha256(schema.encode("utf-8", "replace")).hexdigest()[:32]
