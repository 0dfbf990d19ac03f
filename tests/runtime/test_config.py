"""Settings from code and from the environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import ConfigError
from runledger.runtime import JobsConfig
from runledger.testing import ScopedEnv

WORKER_ID = "JOBS_WORKER_ID"


def test_an_empty_environment_gives_the_defaults() -> None:
    """CFG-001."""
    config = JobsConfig.from_env({})

    assert config.poll_interval == timedelta(milliseconds=500)
    assert config.claim_batch_size == 16
    assert config.lease_ttl == timedelta(seconds=60)
    assert config.max_global_concurrency == 32
    assert config.reaper_interval == timedelta(seconds=15)
    assert config.reaper_retry_delay == timedelta(seconds=30)
    assert config.schedule_poll_interval == timedelta(seconds=30)
    config.validate()


def test_code_and_environment_have_the_same_defaults() -> None:
    """CFG-001."""
    assert JobsConfig(worker_id="worker-1") == JobsConfig.from_env({WORKER_ID: "worker-1"})


@pytest.mark.parametrize(
    ("variable", "text", "field", "expected"),
    [
        ("JOBS_POLL_INTERVAL_MS", "25", "poll_interval", timedelta(milliseconds=25)),
        ("JOBS_CLAIM_BATCH_SIZE", "8", "claim_batch_size", 8),
        ("JOBS_LEASE_TTL_SECONDS", "120", "lease_ttl", timedelta(minutes=2)),
        ("JOBS_MAX_GLOBAL_CONCURRENCY", "+4", "max_global_concurrency", 4),
        ("JOBS_REAPER_INTERVAL_SECONDS", "5", "reaper_interval", timedelta(seconds=5)),
        ("JOBS_SCHEDULE_POLL_INTERVAL_SECONDS", "7", "schedule_poll_interval", timedelta(seconds=7)),
        ("JOBS_REAPER_RETRY_DELAY_MS", "2500", "reaper_retry_delay", timedelta(seconds=2.5)),
    ],
)
def test_a_variable_sets_its_field(variable: str, text: str, field: str, expected: Any) -> None:
    assert getattr(JobsConfig.from_env({variable: text}), field) == expected


@pytest.mark.parametrize(
    ("variable", "text", "field", "minimum"),
    [
        ("JOBS_POLL_INTERVAL_MS", "0", "poll_interval", timedelta(milliseconds=1)),
        ("JOBS_CLAIM_BATCH_SIZE", "0", "claim_batch_size", 1),
        ("JOBS_LEASE_TTL_SECONDS", "1", "lease_ttl", timedelta(seconds=10)),
        ("JOBS_MAX_GLOBAL_CONCURRENCY", "0", "max_global_concurrency", 1),
        ("JOBS_REAPER_INTERVAL_SECONDS", "0", "reaper_interval", timedelta(seconds=1)),
        ("JOBS_SCHEDULE_POLL_INTERVAL_SECONDS", "0", "schedule_poll_interval", timedelta(seconds=1)),
        ("JOBS_REAPER_RETRY_DELAY_MS", "1", "reaper_retry_delay", timedelta(seconds=1)),
    ],
)
def test_a_value_below_the_minimum_is_raised_to_it(variable: str, text: str, field: str, minimum: Any) -> None:
    """CFG-002."""
    assert getattr(JobsConfig.from_env({variable: text}), field) == minimum


@pytest.mark.parametrize(
    ("variable", "field", "expected"),
    [
        ("JOBS_POLL_INTERVAL_MS", "poll_interval", timedelta(milliseconds=500)),
        ("JOBS_MAX_GLOBAL_CONCURRENCY", "max_global_concurrency", 32),
        ("JOBS_REAPER_INTERVAL_SECONDS", "reaper_interval", timedelta(seconds=15)),
        ("JOBS_SCHEDULE_POLL_INTERVAL_SECONDS", "schedule_poll_interval", timedelta(seconds=30)),
        ("JOBS_CLAIM_BATCH_SIZE", "claim_batch_size", 1),
        ("JOBS_LEASE_TTL_SECONDS", "lease_ttl", timedelta(seconds=10)),
        ("JOBS_REAPER_RETRY_DELAY_MS", "reaper_retry_delay", timedelta(seconds=1)),
    ],
)
def test_a_negative_number_is_unparsable_or_raised_by_the_kind_of_setting(
    variable: str, field: str, expected: Any
) -> None:
    """CFG-005."""
    assert getattr(JobsConfig.from_env({variable: "-5"}), field) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "ten", "1.5", " 7", "7 ", "1_000", "٣", "0x10", "9" * 20, "9223372036854775807", "9" * 5_000]
)
@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("JOBS_POLL_INTERVAL_MS", "poll_interval"),
        ("JOBS_LEASE_TTL_SECONDS", "lease_ttl"),
        ("JOBS_REAPER_RETRY_DELAY_MS", "reaper_retry_delay"),
        ("JOBS_CLAIM_BATCH_SIZE", "claim_batch_size"),
    ],
)
def test_an_unusable_text_gives_the_default(variable: str, field: str, text: str) -> None:
    """CFG-005. Numbers that no duration can hold are unusable too."""
    assert getattr(JobsConfig.from_env({variable: text}), field) == getattr(JobsConfig(), field)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("JOBS_REAPER_RETRY_DELAY_SECONDS", "JOBS_REAPER_RETRY_DELAY_MS"),
        ("JOBS_LEASE_TTL_MS", "JOBS_LEASE_TTL_SECONDS"),
        ("JOBS_POLL_INTERVAL", "JOBS_POLL_INTERVAL_MS"),
    ],
)
def test_a_variable_with_another_unit_is_warned_of(caplog: pytest.LogCaptureFixture, variable: str, meant: str) -> None:
    config = JobsConfig.from_env({variable: "4242", meant: "20000", "JOBS_OF_THE_HOST_SECONDS": "1", "PATH": "/"})

    (record,) = caplog.records
    assert (record.msg, record.levelname) == ("settings.variable_unknown", "WARNING")
    assert (vars(record)["variable"], vars(record)["meant"]) == (variable, meant)
    assert config == JobsConfig.from_env({"JOBS_WORKER_ID": config.worker_id, meant: "20000"})


@pytest.mark.parametrize(
    ("variable", "text", "event"),
    [
        ("JOBS_POLL_INTERVAL_MS", "ten", "settings.variable_ignored"),
        ("JOBS_POLL_INTERVAL_MS", "-7351", "settings.variable_ignored"),
        ("JOBS_CLAIM_BATCH_SIZE", "1.5", "settings.variable_ignored"),
        ("JOBS_CLAIM_BATCH_SIZE", "-7351", "settings.variable_raised"),
        ("JOBS_LEASE_TTL_SECONDS", "9", "settings.variable_raised"),
    ],
)
def test_a_value_that_is_not_used_is_logged_by_the_name_of_its_variable(
    caplog: pytest.LogCaptureFixture, variable: str, text: str, event: str
) -> None:
    JobsConfig.from_env({variable: text})

    (record,) = caplog.records
    assert (record.msg, record.levelname, vars(record)["variable"]) == (event, "WARNING", variable)
    assert text not in vars(record).values()


def test_values_that_are_used_and_empty_ones_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    JobsConfig.from_env({"JOBS_POLL_INTERVAL_MS": "", "JOBS_LEASE_TTL_SECONDS": "10", WORKER_ID: ""})

    assert caplog.records == []


def test_a_variable_that_is_too_large_for_its_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="lease_ttl must be at most 7 days"):
        JobsConfig.from_env({"JOBS_LEASE_TTL_SECONDS": "1000000"})


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_a_blank_worker_id_becomes_a_new_one(text: str) -> None:
    """CFG-003."""
    first, second = (JobsConfig.from_env({WORKER_ID: text}).worker_id for _ in range(2))

    assert first.startswith("worker-")
    assert UUID(first.removeprefix("worker-")).version == 7
    assert first != second


def test_a_worker_id_is_taken_as_it_is() -> None:
    """CFG-004."""
    assert JobsConfig.from_env({WORKER_ID: " mail 1 "}).worker_id == " mail 1 "


def test_the_environment_of_the_process_is_read_by_default() -> None:
    with ScopedEnv.set([("JOBS_CLAIM_BATCH_SIZE", "3"), (WORKER_ID, None)]):
        assert JobsConfig.from_env().claim_batch_size == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("worker_id", " "),
        ("worker_id", "nul\0"),
        ("claim_batch_size", 2**31),
        ("lease_ttl", timedelta(days=8)),
        ("claim_batch_size", 0),
        ("max_global_concurrency", 0),
        ("reaper_batch_size", -1),
        ("poll_interval", timedelta()),
        ("lease_ttl", timedelta(microseconds=999)),
        ("reaper_interval", timedelta(seconds=-1)),
        ("schedule_poll_interval", timedelta()),
        ("reaper_retry_delay", timedelta(seconds=-1)),
        ("shutdown_timeout", timedelta(seconds=-1)),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field} "):
        JobsConfig(**{field: value})


def test_settings_made_in_code_may_be_shorter_than_the_environment_allows() -> None:
    JobsConfig(lease_ttl=timedelta(milliseconds=300), reaper_retry_delay=timedelta()).validate()
