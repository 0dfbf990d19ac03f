"""The pages of the documentation and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

DOCS = ROOT / "docs"

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block.

    Attributes:
        page: Where it stands.
        line: Number of its first line, the fence not counted.
        language: What follows the fence, such as ``python``.
        text: What is in it.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Page and line, for tracebacks and test ids."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    numbered = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in numbered:
        opening = _FENCE.fullmatch(line)
        if opening is None:
            continue
        indent = opening["indent"]
        lines: list[str] = []
        for _, inner in numbered:
            if inner == f"{indent}```":
                break
            lines.append(inner.removeprefix(indent))
        else:
            raise AssertionError(f"{page}:{number}: the block has no end")
        yield Block(
            page=page, line=number + 1, language=opening["language"], text="".join(f"{line}\n" for line in lines)
        )
