"""A story as plain text: what a pipe gets, and a terminal without rich."""

from __future__ import annotations

from runledger.cli.story import Story, Table, Tree


def print_plain(story: Story) -> None:
    """Print the story to standard output."""
    print(story.title)
    print()
    print(story.summary)
    print()
    print_columns([(f"{label}:", text) for label, text in story.facts])
    for part in story.parts:
        print()
        print(part.title)
        if isinstance(part, Table):
            print_columns([part.columns, *part.rows] if part.rows else [("none",)])
        elif isinstance(part, Tree):
            print_columns([(line.text,) for line in part.lines])
        else:
            print_columns([(line,) for line in part.lines])


def print_columns(rows: list[tuple[str, ...]]) -> None:
    """Print rows, indented, with their cells below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(f"  {'  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))}".rstrip())
