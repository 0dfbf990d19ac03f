"""Fixtures of all tests.

`runledger_database` gives a test a fresh, migrated database. Processes of pytest-xdist share one server, which stops
with the last of them, and the template of which all databases are copies.
"""

from __future__ import annotations

import signal

# Whoever starts the tests in the background may have had SIGINT ignored, which all processes inherit, also those that a
# test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["runledger.testing.pytest_plugin"]
