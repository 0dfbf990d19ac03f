"""JSON as commands print it."""

from __future__ import annotations

import pytest

from runledger.cli.json_text import NestedTooDeepError, json_lines, print_json
from runledger.core import JsonValue


def nested(depth: int) -> JsonValue:
    value: JsonValue = None
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_nested_too_deep_for_every_python_is_told_and_not_half_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    deep = nested(100_000)

    with pytest.raises(NestedTooDeepError, match=r"^what is to be shown is nested too deep$"):
        print_json({"output": deep})
    with pytest.raises(NestedTooDeepError):
        json_lines(deep)

    assert capsys.readouterr().out == ""


def test_a_program_gets_ascii_and_a_person_letters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Zoë"})

    assert capsys.readouterr().out == '{\n  "name": "Zo\\u00eb"\n}\n'
    assert json_lines({"name": "Zoë\u202e"}) == ["{", '  "name": "Zoë\\u202e"', "}"]
