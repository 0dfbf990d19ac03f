"""Texts of failures are made fit for storage and never fail themselves."""

from hypothesis import example, given
from hypothesis import strategies as st

from runledger.core.database_text import unstorable_text_problem
from runledger.core.jobs.failure_text import MAX_ERROR_TEXT_BYTES, clean_error_text

MARK = "… [cut]"


def repeat(unit: str, size: int, tail: str) -> str:
    return unit * (size // len(unit.encode())) + tail


# st.text() alone hardly ever reaches the limit: characters of one to four bytes, repeated up to it and beyond
long_texts = st.builds(
    repeat,
    st.sampled_from(["a", "é", "€", "😀"]),
    st.integers(MAX_ERROR_TEXT_BYTES - 12, MAX_ERROR_TEXT_BYTES + 12),
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
)
any_text = st.text(alphabet=st.characters()) | long_texts | st.sampled_from(["\0", "\ud800", "a\0\udfffb"])


@given(text=any_text)
@example(text="\0" * 20_000)
@example(text="\ud800" * 20_000)
def test_the_result_can_be_stored_and_is_no_longer_than_the_limit(text: str) -> None:
    cleaned = clean_error_text(text)

    assert unstorable_text_problem(cleaned) is None
    assert len(cleaned.encode()) <= MAX_ERROR_TEXT_BYTES


@given(text=any_text)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    cleaned = clean_error_text(text)

    assert clean_error_text(cleaned) == cleaned


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_clean_short_text_comes_back_as_it_is(text: str) -> None:
    assert clean_error_text(text) == text


@given(text=long_texts)
def test_a_long_text_keeps_its_beginning_and_shows_the_cut(text: str) -> None:
    cleaned = clean_error_text(text)

    if len(text.encode()) <= MAX_ERROR_TEXT_BYTES:
        assert cleaned == text
    else:
        assert cleaned.endswith(MARK)
        assert text.startswith(cleaned.removesuffix(MARK))
        # On a character boundary, and on the last one that fits.
        assert len(cleaned.encode()) > MAX_ERROR_TEXT_BYTES - 4


def test_nul_is_removed_and_a_lone_surrogate_replaced() -> None:
    assert clean_error_text("a\0b\ud800c") == "ab\N{REPLACEMENT CHARACTER}c"


def test_characters_that_are_removed_do_not_count_against_the_limit() -> None:
    text = "\0" * MAX_ERROR_TEXT_BYTES + "a" * MAX_ERROR_TEXT_BYTES

    assert clean_error_text(text) == "a" * MAX_ERROR_TEXT_BYTES
