"""Statements without a file, to ask a session of Runledger's about itself."""

from __future__ import annotations

from runledger.postgres import Statement
from runledger.postgres.operation import Rows, Steps, operation


class PlainText:
    """A text that names no schema."""

    def __init__(self, text: str) -> None:
        self._text = text

    def text(self, schema: str) -> str:
        del schema
        return self._text


@operation("tests.execute")
def execute_text(text: str) -> Steps[Rows]:
    """Run a text as it is and return its rows."""
    return (yield Statement(sql=PlainText(text), document=None, is_only=True))
