"""The commands of the program, as its parser knows them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from runledger.cli.arguments import build_parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, or an action of one.

    Attributes:
        words: Its name, such as ``schedule set``; empty for the program itself.
        options: Its long options that the help shows.
    """

    words: str
    options: frozenset[str]


def all_commands() -> list[Command]:
    """Return the program, every command and every action."""
    return list(_commands(build_parser(), ""))


def _commands(parser: argparse.ArgumentParser, words: str) -> Iterator[Command]:
    actions = parser._actions  # noqa: SLF001 (argparse offers no other way)
    shown = [action for action in actions if action.help != argparse.SUPPRESS]
    options = {option for action in shown for option in action.option_strings if option.startswith("--")}
    yield Command(words=words, options=frozenset(options - {"--help"}))
    for action in actions:
        # The choices of the action that takes a command are the parsers of commands, those of an option are texts.
        choices = cast("object", action.choices)
        if isinstance(choices, dict):
            for name, below in cast("dict[str, argparse.ArgumentParser]", choices).items():
                yield from _commands(below, f"{words} {name}".strip())
