"""``python -m tools.release smoke | check | prepare VERSION [--skip-tests]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.release.artifacts import artifact_problems, build
from tools.release.check import check
from tools.release.prepare import prepare
from tools.release.smoke import smoke
from tools.release.steps import ROOT, StepError, require


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("smoke", help="build the artefacts, and run a host project with them")
    commands.add_parser("check", help="check that the checkout can be released")
    preparing = commands.add_parser("prepare", help="make the changes of a release, and check them")
    preparing.add_argument("version")
    preparing.add_argument("--skip-tests", action="store_true", help="do not run `make check`")
    options = parser.parse_args(arguments)
    try:
        if options.command == "smoke":
            _smoke()
        elif options.command == "check":
            check(ROOT)
        else:
            prepare(ROOT, options.version, skips_tests=options.skip_tests)
    except StepError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _smoke() -> None:
    with tempfile.TemporaryDirectory() as directory:
        artifacts = build(ROOT, Path(directory))
        require(artifact_problems(artifacts, ROOT))
        smoke(artifacts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
