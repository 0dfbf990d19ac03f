"""The program: from arguments to an exit code."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

from runledger.cli.arguments import build_parser, check_together
from runledger.cli.failures import BAD_INPUT, BROKEN_PIPE, DONE, FAILED, INTERRUPTED, BadInputError, CommandError

# Where a command is that is not `run` of the module of its name.
_COMMANDS = {"cancel": ("control", "run_cancel"), "requeue": ("control", "run_requeue")}

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_NEGATIVE = re.compile(r"-[0-9]")


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code of the program.

    Args:
        words: The arguments; those of the process when not given.
    """
    words = sys.argv[1:] if words is None else words
    if sys.stdout is None:  # it was closed
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the end; pathlib loads slowly
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # The ledger holds every language, the terminal's encoding may not: an escaped letter is better than none.
        reconfigure(errors="backslashreplace")
    try:
        try:
            exit_code = _run(words)
        finally:
            # Flushed here, so that a reader who has gone is noticed now and not by the interpreter, at its end and
            # aloud.
            sys.stdout.flush()
    except CommandError as error:
        print(f"runledger: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _discard_output()
        print(f"runledger: error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
    return exit_code


def _run(words: Sequence[str]) -> int:
    parser = build_parser()
    try:
        arguments = parser.parse_args(_with_negative_values(words))
        check_together(arguments)
    except SystemExit:  # after --help and --version
        return DONE
    except BadInputError as error:
        raise BadInputError(f"{error}{_embedded_hint(words)}") from None
    if arguments.command is None:
        hint = _embedded_hint(words)
        if hint:
            raise BadInputError(f"no command is given{hint}")
        parser.print_help(sys.stderr)
        return BAD_INPUT
    return _run_command(arguments)


def _run_command(arguments: argparse.Namespace) -> int:
    """Load the module of the command, and no other, and run it."""
    module, function = _COMMANDS.get(arguments.command, (arguments.command, "run"))
    if arguments.command == "schedule" and arguments.action == "next":
        module = "schedule_times"
    return getattr(import_module(f"runledger.cli.{module}"), function)(arguments)


def _with_negative_values(words: Sequence[str]) -> list[str]:
    """Join ``--option`` and ``-1s``: argparse takes the latter for an option, and says only that a value is missing."""
    joined: list[str] = []
    for word in words:
        if _NEGATIVE.match(word) and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] = f"{joined[-1]}={word}"
        else:
            joined.append(word)
    return joined


def _embedded_hint(words: Sequence[str]) -> str:
    """Say what may have happened: ``--embedded`` takes the next word for its name, also when it was meant otherwise."""
    if any(word == "--embedded" and not after.startswith("-") for word, after in pairwise(words)):
        return (
            "; --embedded takes the word after it as the name of the server: "
            "write --embedded=NAME, or put --embedded last"
        )
    return ""


def _discard_output() -> None:
    """Let the interpreter flush what is left into nothing."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
