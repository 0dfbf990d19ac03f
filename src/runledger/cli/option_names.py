"""Errors of arguments of the ledger, told by the options that people gave."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping

from runledger.cli.failures import BadInputError
from runledger.core.errors import InvalidArgumentError

_NAME = re.compile(r"(?P<name>\w*)(?P<place>.*)", re.DOTALL)


@contextlib.contextmanager
def naming_options(options: Mapping[str, str]) -> Generator[None]:
    """Tell what the ledger refuses in the block by the option or the argument that it came from.

    Args:
        options: By the names that the ledger has for them. What an error says of the place inside is kept.

    Raises:
        BadInputError: An argument of the ledger is refused.
    """
    try:
        yield
    except InvalidArgumentError as error:
        name, place = _NAME.fullmatch(error.field).groups()  # pyright: ignore[reportOptionalMemberAccess] - always
        raise BadInputError(f"{options.get(name, name)}{place}: {error.problem}; {error.remedy}") from None
