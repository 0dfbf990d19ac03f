"""Fixtures of all tests.

`runledger_database` gives a test a fresh, migrated database. Processes of pytest-xdist share one server, which stops
with the last of them, and the template of which all databases are copies.
"""

from __future__ import annotations

pytest_plugins = ["runledger.testing.pytest_plugin"]
