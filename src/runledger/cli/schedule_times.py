"""``runledger schedule next``, which needs no database."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, tzinfo

from runledger.cli.failures import DONE
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.plain_text import print_columns
from runledger.core import CronExpression, next_fire, parse_cron
from runledger.postgres.schedules.time_zone import time_zone

_OPTION_OF = {"cron_expr": "EXPRESSION", "timezone": "--timezone", "after": "--after"}


def run(arguments: argparse.Namespace) -> int:
    """Print the coming times of an expression, without jitter, which every schedule has of its own."""
    with naming_options(_OPTION_OF):
        expression, zone = parse_cron(arguments.cron_expr), time_zone(arguments.timezone)
        after = datetime.now(UTC) if arguments.after is None else arguments.after
        times = _coming(expression, zone, after, count=arguments.count)
    if arguments.json:
        document = {
            "cron_expr": arguments.cron_expr,
            "timezone": arguments.timezone,
            "times": list(map(_in_utc, times)),
        }
        print_json(document)
    else:
        print_columns([(_local(fire_at, zone), _in_utc(fire_at)) for fire_at in times])
        if len(times) < arguments.count:
            print("It fires no more.")
    return DONE


def _coming(expression: CronExpression, zone: tzinfo, after: datetime, *, count: int) -> list[datetime]:
    times: list[datetime] = []
    while len(times) < count and (fire_at := next_fire(expression, after=after, zone=zone)) is not None:
        times.append(fire_at)
        after = fire_at
    return times


def _local(instant: datetime, zone: tzinfo) -> str:
    return instant.astimezone(zone).isoformat(sep=" ")


def _in_utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
