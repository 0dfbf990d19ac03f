"""A story with colours and wrapped columns, for a terminal. Needs rich, the extra ``cli``."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from runledger.cli.story import Lines, Story, Table, Tree
from runledger.core import JobStatus, WorkflowRunStatus, WorkflowStepStatus

# By word: what jobs, steps and runs have in common looks the same.
_STYLES: dict[str, str] = {
    JobStatus.PENDING: "yellow",
    JobStatus.LEASED: "cyan",
    JobStatus.SUCCEEDED: "green",
    JobStatus.DEAD_LETTERED: "red",
    JobStatus.CANCELED: "magenta",
    WorkflowStepStatus.BLOCKED: "dim",
    WorkflowStepStatus.WAITING_FOR_EXTERNAL: "bold yellow",
    WorkflowStepStatus.ENQUEUED: "yellow",
    WorkflowStepStatus.RUNNING: "cyan",
    WorkflowStepStatus.FAILED: "red",
    WorkflowRunStatus.COMPLETED_WITH_ERRORS: "red",
}


def print_rich(story: Story, console: Console | None = None) -> None:
    """Print the story.

    Args:
        story: The story.
        console: Where to; standard output when not given.
    """
    console = Console() if console is None else console
    # Text, never str: rich would read square brackets in a message as its markup.
    console.print(Text(story.title, style="bold"))
    console.print()
    console.print(Text(story.summary, style=_STYLES[story.status]))
    console.print()
    console.print(_facts(story))
    for part in story.parts:
        console.print()
        console.print(Text(part.title, style="bold"))
        console.print(_part(part))


def _facts(story: Story) -> Padding:
    grid = Grid.grid(padding=(0, 2, 0, 0))
    for label, text in story.facts:
        style = _STYLES[story.status] if text == story.status else ""
        grid.add_row(Text(label, style="dim"), Text(text, style=style))
    return Padding(grid, (0, 0, 0, 2))


def _part(part: Table | Lines | Tree) -> Padding:
    if isinstance(part, Table):
        return _table(part)
    return _tree(part) if isinstance(part, Tree) else _lines(part)


def _table(table: Table) -> Padding:
    if not table.rows:
        return Padding(Text("none", style="dim"), (0, 0, 0, 2))
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for column in table.columns:
        # A worker id that was cut could not be copied.
        grid.add_column(Text(column), overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return Padding(grid, (0, 0, 0, 2))


def _lines(lines: Lines) -> Padding:
    return Padding(Text("\n".join(lines.lines)), (0, 0, 0, 2))


def _tree(tree: Tree) -> Padding:
    lines = [Text(line.text, style=_STYLES[line.status], no_wrap=True, overflow="ellipsis") for line in tree.lines]
    return Padding(Group(*lines), (0, 0, 0, 2))
