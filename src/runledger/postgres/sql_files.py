"""The SQL files of the package: one statement a file, loaded once, named with the configured schema."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol

from runledger.postgres.schema_name import quote_schema


class SqlText(Protocol):
    """Something that is an SQL statement once the schema is known."""

    def text(self, schema: str) -> str:
        """Return the statement for a schema."""
        ...


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file under ``postgres/sql``.

    Attributes:
        area: Folder, such as ``"jobs"``.
        name: File name without its ending; the name of the operation.
    """

    area: str
    name: str

    def text(self, schema: str) -> str:
        """Return the statement for a schema, without comments."""
        return _text(self.area, self.name, schema)


@functools.lru_cache(maxsize=1024)
def _text(area: str, name: str, schema: str) -> str:
    source = files("runledger.postgres").joinpath("sql", area, f"{name}.sql").read_text(encoding="utf-8")
    # The server parses what it is sent: comments are for readers of the file.
    lines = [line for line in source.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).replace("{schema}", quote_schema(schema))
