"""SQL files and migrations travel with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from runledger.postgres import MIGRATOR
from tools.sql_lock.lock import sql_files

ROOT = Path(__file__).resolve().parents[2]


def files_of_the_wheel() -> set[str]:
    return {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def test_the_wheel_holds_every_sql_file_and_migration() -> None:
    """MIG-013."""
    package = ROOT / "src"
    wanted = {path.relative_to(package).as_posix() for path in package.rglob("*.sql")}

    assert wanted
    # Files that git ignores stay out of the wheel without a word.
    assert wanted <= files_of_the_wheel()


def test_the_wheel_says_that_it_is_typed() -> None:
    assert "runledger/py.typed" in files_of_the_wheel()


def test_the_installed_package_finds_every_sql_file_and_migration() -> None:
    package = files("runledger.postgres")

    for file in sql_files():
        assert package.joinpath("sql", file.area, f"{file.name}.sql").is_file()
    names = {f"{migration.version}_{migration.description}.sql" for migration in MIGRATOR.migrations}
    assert {entry.name for entry in package.joinpath("migrations").iterdir()} == names
