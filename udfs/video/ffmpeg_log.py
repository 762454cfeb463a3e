"""FFmpeg's log messages, for the one line of an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av

Messages = list[tuple[int, str, str]]  # level, component, text


@contextmanager
def captured_errors() -> Iterator[Messages]:
    """The errors that FFmpeg logs in this context, in their order; they are not printed."""
    level = av.logging.get_level()
    with av.logging.Capture() as logs:
        av.logging.set_level(av.logging.ERROR)
        try:
            yield logs
        finally:
            av.logging.set_level(level)


def last_message(logs: Messages, error: Exception) -> str:
    """FFmpeg's last message in one line; the text of `error` if it logged none."""
    return " ".join(str(logs[-1][2] if logs else error).split())
