from __future__ import annotations

import os
import threading

import pytest

from runledger.testing import ScopedEnv

SET, UNSET = "RUNLEDGER_TESTS_SET", "RUNLEDGER_TESTS_UNSET"


@pytest.fixture(autouse=True)
def known_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SET, "before")
    monkeypatch.delenv(UNSET, raising=False)


def environment() -> tuple[str | None, str | None]:
    return os.environ.get(SET), os.environ.get(UNSET)


def test_values_and_removals_last_for_the_block() -> None:
    """TST-004."""
    with ScopedEnv.set([(SET, None), (UNSET, "within")]):
        assert environment() == (None, "within")
    assert environment() == ("before", None)


def test_former_values_return_after_a_failure() -> None:
    """TST-004."""
    with pytest.raises(ZeroDivisionError), ScopedEnv.set([(SET, "within"), (UNSET, "within")]):
        raise ZeroDivisionError
    assert environment() == ("before", None)


def test_blocks_nest() -> None:
    with ScopedEnv.set([(SET, "outer")]):
        with ScopedEnv.set([(SET, None), (UNSET, "inner")]):
            assert environment() == (None, "inner")
        assert environment() == ("outer", None)
    assert environment() == ("before", None)


def test_name_given_twice_returns_to_what_it_was_before_both() -> None:
    with ScopedEnv.set([(SET, "first"), (SET, "second")]):
        assert environment() == ("second", None)
    assert environment() == ("before", None)


def test_impossible_value_changes_nothing_and_frees_the_lock() -> None:
    with pytest.raises(ValueError, match="null byte"), ScopedEnv.set([(UNSET, "within"), (SET, "a\0b")]):
        pass
    assert environment() == ("before", None)
    assert is_free_for_other_threads()


def test_other_threads_wait_for_the_block() -> None:
    with ScopedEnv.set([(SET, "within")]):
        assert not is_free_for_other_threads()
    assert is_free_for_other_threads()


def is_free_for_other_threads() -> bool:
    entered = threading.Event()

    def enter() -> None:
        with ScopedEnv.set([]):
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered.wait(timeout=0.2)
