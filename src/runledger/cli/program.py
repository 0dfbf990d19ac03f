"""The program: from arguments to an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import pairwise

from runledger.cli.arguments import build_parser
from runledger.cli.failures import BAD_INPUT, BROKEN_PIPE, DONE, INTERRUPTED, CommandError


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code of the program.

    Args:
        words: The arguments; those of the process when not given.
    """
    words = sys.argv[1:] if words is None else words
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # The ledger holds every language, the terminal's encoding may not: an escaped letter is better than none.
        reconfigure(errors="backslashreplace")
    try:
        try:
            exit_code = _run(words)
        finally:
            # Flushed here, so that a reader who has gone is noticed now and not by the interpreter, at its end and
            # aloud. By print, which does not mind a standard output that was closed.
            print(end="", flush=True)
    except CommandError as error:
        print(f"runledger: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    return exit_code


def _run(words: Sequence[str]) -> int:
    parser = build_parser()
    try:
        arguments = parser.parse_args(words)
    except SystemExit as end:
        # argparse ends the program by itself: after --help and --version, and after bad input.
        if end.code == BAD_INPUT:
            _explain_embedded(words)
        return BAD_INPUT if end.code else DONE
    if arguments.command is None:
        parser.print_help(sys.stderr)
        _explain_embedded(words)
        return BAD_INPUT
    return _run_command(arguments)


def _run_command(arguments: argparse.Namespace) -> int:
    """Load the module of the command, and no other, and run it."""
    if arguments.command in {"cancel", "requeue"}:
        from runledger.cli import control

        return control.run_cancel(arguments) if arguments.command == "cancel" else control.run_requeue(arguments)
    if arguments.command == "migrate":
        from runledger.cli import migrate as command
    elif arguments.command == "check":
        from runledger.cli import check as command
    elif arguments.command == "grants":
        from runledger.cli import grants as command
    elif arguments.command == "worker":
        from runledger.cli import worker as command
    else:
        from runledger.cli import job as command
    return command.run(arguments)


def _explain_embedded(words: Sequence[str]) -> None:
    """Say what may have happened: ``--embedded`` takes the next word for its name, also when it was meant otherwise."""
    if any(word == "--embedded" and not after.startswith("-") for word, after in pairwise(words)):
        print(
            "--embedded takes the word after it as the name of the server: "
            "write --embedded=NAME, or put --embedded last",
            file=sys.stderr,
        )


def _discard_output() -> None:
    """Let the interpreter flush what is left into nothing."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
