from __future__ import annotations

import json
import logging
from typing import Any, NoReturn

import pytest

from runledger.runtime import JsonLogFormatter, TextLogFormatter
from tests.runtime.hostile_values import SECRET, Detached, NoText, endless, nested, unset


def record(event: str, *, error: Exception | None = None, **facts: object) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    made = logging.getLogger("runledger.worker").makeRecord(
        "runledger.worker", logging.WARNING, "worker.py", 1, event, (), exc_info, extra=facts
    )
    made.created = 1_777_636_800.1234
    return made


def test_a_line_has_time_level_event_and_facts() -> None:
    line = TextLogFormatter().format(record("worker.claim_failed", code="db.connection_failed", job_count=2))

    assert line == "2026-05-01T12:00:00.123Z WARNING worker.claim_failed code=db.connection_failed job_count=2"


def boom() -> None:
    raise ValueError("boom\x1b")


def raised_error() -> Exception:
    with pytest.raises(ValueError, match="boom") as raised:
        boom()
    return raised.value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ('say "x"', '"say \\"x\\""'),
        ("a=b", '"a=b"'),
        ("line\nline", '"line\\nline"'),
        (["email.send", "b"], '["email.send", "b"]'),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({1: object}, '{"1": "<class \'object\'>"}'),
    ],
)
def test_a_value_stays_one_field_of_the_line(value: object, text: str) -> None:
    assert TextLogFormatter().format(record("event", fact=value)).endswith(f" event fact={text}")


def test_a_message_of_several_lines_stays_one_record() -> None:
    assert TextLogFormatter().format(record("one\ntwo")).endswith("WARNING one\\ntwo")


def test_a_traceback_follows_the_line() -> None:
    lines = TextLogFormatter().format(record("worker.handler_panicked", error=raised_error())).splitlines()

    assert lines[0].endswith(" worker.handler_panicked")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: boom\\x1b"


def test_json_is_one_object_in_which_facts_replace_nothing() -> None:
    line = JsonLogFormatter().format(record("worker.claim_failed", code="x", level="mine", error=raised_error()))

    assert "\n" not in line
    document = json.loads(line)
    traceback = document.pop("traceback")
    assert traceback.startswith("Traceback")
    assert traceback.endswith("ValueError: boom\x1b")
    assert document == {
        "time": "2026-05-01T12:00:00.123Z",
        "level": "WARNING",
        "logger": "runledger.worker",
        "event": "worker.claim_failed",
        "code": "x",
    }


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        ({"k": float("inf")}, {"k": "inf"}),
        ({(1, 2): 3}, {"(1, 2)": 3}),
        (endless(), [1, "<list, contains itself>"]),
        (NoText(), "<NoText: LookupError>"),
        (Detached(1), "<Detached: LookupError>"),
        (unset(), "<Part: AttributeError>"),
        ("\ud800", "\ud800"),
        ("x" * 2_000_000, "<str, too large>"),
    ],
    ids=["nan", "inf", "key", "cycle", "text", "detached", "unset", "surrogate", "large"],
)
def test_a_record_is_json_and_not_lost_whatever_its_facts_are(value: object, shown: object) -> None:
    line = JsonLogFormatter().format(record("event", fact=value))

    assert json.loads(line, parse_constant=refuse)["fact"] == shown
    text = TextLogFormatter().format(record("event", fact=value))
    assert text.startswith("2026-05-01T12:00:00.123Z WARNING event fact=")
    assert SECRET not in line + text


def test_a_deep_fact_is_cut() -> None:
    assert "nested too deep" in JsonLogFormatter().format(record("event", fact=nested(100_000)))


@pytest.mark.parametrize("formatter", [JsonLogFormatter(), TextLogFormatter()], ids=["JSON", "text"])
def test_arguments_that_do_not_fit_do_not_lose_the_record(formatter: logging.Formatter) -> None:
    made = record("%d pages")
    made.args = ("two",)
    anything: Any = NoText()

    assert "%d pages (not formatted: TypeError)" in formatter.format(made)
    assert "<NoText: LookupError> (not formatted: LookupError)" in formatter.format(record(anything))


def test_a_fact_whose_name_is_no_text_has_one() -> None:
    made = record("event")
    vars(made).update({(1, 2): 3})  # pyright: ignore[reportCallIssue, reportArgumentType] (as a wrong `extra` does)

    assert json.loads(JsonLogFormatter().format(made))["(1, 2)"] == 3
