"""The examples of how-to/test-your-jobs.md are files of a small project, whose tests are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, blocks_of

_FILE_NAME = re.compile(r"# (?P<name>\w+\.py)\n")


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    for block in blocks_of(DOCS / "how-to" / "test-your-jobs.md"):
        if block.language == "python":
            header = _FILE_NAME.match(block.text)
            assert header is not None, f"{block.place}: every example is a file with a name"
            (tmp_path / header["name"]).write_text(block.text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "-p", "no:asyncio", "-W", "error", f"--rootdir={tmp_path}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "14 passed" in result.stdout
