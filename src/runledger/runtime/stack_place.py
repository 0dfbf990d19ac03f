"""Where a thread stands, in words for the log."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

_MOST_FRAMES = 5


def stack_place(thread_id: int | None) -> list[str]:
    """Return the innermost frames of a thread as ``file:line function``, innermost first; never a local variable.

    The list is empty for a thread that has ended.
    """
    # Documented for debuggers, underscore and all.
    frame = None if thread_id is None else sys._current_frames().get(thread_id)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    places: list[str] = []
    while frame is not None and len(places) < _MOST_FRAMES:
        places.append(_place(frame))
        frame = frame.f_back
    return places


def _place(frame: FrameType) -> str:
    code = frame.f_code
    # Two parts of the path tell modules of one name apart, and do not spread the layout of the machine.
    file = "/".join(Path(code.co_filename).parts[-2:])
    return f"{file}:{frame.f_lineno} {code.co_qualname}"
