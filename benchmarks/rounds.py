"""Measurements that are repeated."""

from __future__ import annotations

import statistics
from collections.abc import Callable


def median_of_rounds(rounds: int, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure so often, and return the median of each figure.

    A ratio is part of its round, so that it compares neighbours in time: a machine that slows down for a while slows
    both.
    """
    results = [measure() for _ in range(rounds)]
    return {name: statistics.median(result[name] for result in results) for name in results[0]}
