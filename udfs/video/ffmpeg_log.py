"""FFmpeg at work -> what it says meanwhile, for the one line of an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av

Messages = list[tuple[int, str, str]]  # level, who, what


@contextmanager
def heard() -> Iterator[Messages]:
    """The errors that FFmpeg logs within, as they come; they are shown nowhere else."""
    level = av.logging.get_level()
    with av.logging.Capture() as logs:
        av.logging.set_level(av.logging.ERROR)
        try:
            yield logs
        finally:
            av.logging.set_level(level)


def last(logs: Messages, error: Exception) -> str:
    """The last thing that FFmpeg said, in one line; what the error says if it was silent."""
    return " ".join(str(logs[-1][2] if logs else error).split())
