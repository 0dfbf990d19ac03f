"""The schema dump in the documentation is current."""

from runledger.testing import EphemeralDatabase
from tools.schema_dump import DUMP_PATH, compare, dump_schema


def test_the_dump_is_what_the_migrations_make(runledger_database: EphemeralDatabase) -> None:
    difference = compare(DUMP_PATH.read_text(encoding="utf-8"), dump_schema(runledger_database.url))

    assert not difference, "run `make schema-dump` and read the difference:\n" + "\n".join(difference)
