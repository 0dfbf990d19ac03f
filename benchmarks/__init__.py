"""Benchmarks: what Runledger does per second, and what it costs, measured beside a yardstick in the same run."""
