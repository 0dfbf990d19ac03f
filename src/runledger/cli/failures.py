"""How a command ends when it cannot do what it was asked for."""

from __future__ import annotations

DONE = 0
FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


class CommandError(Exception):
    """The command failed; the text tells a person what is wrong and what to do.

    It stands outside the tree of ``runledger.core.errors`` because it never leaves the program, and because loading
    that tree would cost each start of the program more than everything else.

    Attributes:
        exit_code: What the program returns.
    """

    exit_code = FAILED


class BadInputError(CommandError):
    """An argument or a variable cannot be used; the text names it and the remedy."""

    exit_code = BAD_INPUT
