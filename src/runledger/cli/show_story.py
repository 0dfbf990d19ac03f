"""Printing a story to standard output, in the way that is possible there."""

from __future__ import annotations

import sys

from runledger.cli.plain_text import print_plain
from runledger.cli.story import Story


def show_story(story: Story) -> None:
    """Print the story: with colours on a terminal where rich is installed, else as plain text."""
    if sys.stdout.isatty():
        try:
            from runledger.cli.rich_text import print_rich
        except ImportError:  # the extra is not installed
            pass
        else:
            print_rich(story)
            return
    print_plain(story)
