"""What `runledger.core` offers is listed, sorted, and there."""

from runledger import core


def test_all_is_sorted_and_without_repeats() -> None:
    assert core.__all__ == sorted(set(core.__all__))


def test_every_listed_name_exists_and_every_public_class_and_function_is_listed() -> None:
    defined = {
        name
        for name, value in vars(core).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("runledger.core.")
    }

    assert all(hasattr(core, name) for name in core.__all__)
    assert defined <= set(core.__all__)
