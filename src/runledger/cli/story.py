"""A story in plain words, before anybody decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass

from runledger.cli.step_tree import StepLine
from runledger.core import JobStatus, WorkflowRunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A part of the story with columns."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A part of the story that is text."""

    title: str
    lines: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A part of the story that shows steps, in the colours of their statuses."""

    title: str
    lines: list[StepLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What to print. Every text is safe to print.

    Attributes:
        title: Which job or run it is.
        status: Where it stands; for its colour.
        summary: Where it stands, in a sentence or two.
        facts: Label and text.
        parts: What happened, in order.
    """

    title: str
    status: JobStatus | WorkflowRunStatus
    summary: str
    facts: list[tuple[str, str]]
    parts: list[Table | Lines | Tree]
