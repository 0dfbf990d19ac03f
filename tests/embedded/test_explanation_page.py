"""The example of explanation/embedded-server.md runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.docs.pages import DOCS, blocks_of
from tests.embedded.processes import await_stopped


def test_the_example_of_the_page_makes_a_database(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def default_data_dir(name: str) -> Path:
        asked.append(name)
        return data_dir

    monkeypatch.setattr("runledger.embedded.default_data_dir", default_data_dir)
    (example,) = [
        block for block in blocks_of(DOCS / "explanation" / "embedded-server.md") if block.language == "python"
    ]
    namespace: dict[str, Any] = {}
    exec(compile(example.text, example.place, "exec"), namespace)  # noqa: S102 - the page is ours
    assert asked == ["demo"]
    await_stopped(data_dir)
    with namespace["EmbeddedServer"].start(data_dir), psycopg.connect(namespace["url"]) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("shop",)
