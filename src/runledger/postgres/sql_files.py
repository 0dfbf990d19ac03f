"""The SQL files of the package: one statement a file, loaded once, named with the configured schema."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol

from runledger.postgres.schema_name import channel_of, quote_schema, run_channel_of

_BLOCK = re.compile(r"^ *\{for n in 1\.\.(?P<most>\d+)\}\n(?P<body>.*?)^ *\{end\}\n", re.DOTALL | re.MULTILINE)


class SqlText(Protocol):
    """Something that is an SQL statement once the schema is known."""

    def text(self, schema: str) -> str:
        """Return the statement for a schema."""
        ...


@dataclass(frozen=True, slots=True)
class PlainSql:
    """A command that takes no document and names no table, such as SAVEPOINT.

    Attributes:
        command: The text of the command.
    """

    command: str

    def text(self, schema: str) -> str:  # noqa: ARG002 (the same in every schema)
        """Return the command."""
        return self.command


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file under ``postgres/sql``.

    A file may hold a block between ``{for n in 1..16}`` and ``{end}``, which stands for copies of itself with ``{n}``
    replaced by 1, 2 and so on.

    Attributes:
        area: Folder, such as ``"jobs"``.
        name: File name without its ending; the name of the operation.
        copies: How many copies its block stands for; as many as the block says when not given.
    """

    area: str
    name: str
    copies: int | None = None

    def text(self, schema: str) -> str:
        """Return the statement for a schema, without comments."""
        return _text(self.area, self.name, self.copies, schema)


@functools.lru_cache(maxsize=1024)
def _text(area: str, name: str, copies: int | None, schema: str) -> str:
    source = files("runledger.postgres").joinpath("sql", area, f"{name}.sql").read_text(encoding="utf-8")
    # The server parses what it is sent: comments are for readers of the file.
    lines = [line for line in source.splitlines() if not line.lstrip().startswith("--")]
    text = _BLOCK.sub(lambda block: _copied(block, copies), "\n".join(lines))
    text = text.replace("{schema}", quote_schema(schema)).replace("{channel}", f"'{channel_of(schema)}'")
    return text.replace("{run_channel}", f"'{run_channel_of(schema)}'")


def _copied(block: re.Match[str], copies: int | None) -> str:
    count = int(block["most"]) if copies is None else copies
    return "".join(block["body"].replace("{n}", str(number)) for number in range(1, count + 1))
