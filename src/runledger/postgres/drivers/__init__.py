"""Drivers: the only place that knows a database library. One package each."""
