"""Text for a terminal or a pipe: how wide lines may be, what its encoding can show, and lines that fit."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import TextIO

MAX_COLUMNS = 100  # of a pipe, and of a wider terminal
MIN_COLUMNS = 30


def columns(stream: TextIO | None = None) -> int:
    """The characters that a line may have."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return MAX_COLUMNS
    return max(MIN_COLUMNS, min(MAX_COLUMNS, shutil.get_terminal_size().columns))


def can_show(text: str, stream: TextIO | None = None) -> bool:
    """Whether the encoding of a stream has all characters of a text."""
    try:
        text.encode(getattr(stream or sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def escaped(text: str, keep: str = "\n\t") -> str:
    """A text without characters that a terminal obeys: all that are not printable, but for `keep`, are escaped."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def wrapped(text: str, width: int, first: str = "", then: str = "") -> list[str]:
    """A text in lines, which begin with `first` and `then`; a longer word, such as an address, stays whole."""
    lines = textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
    return lines or [first.rstrip()]


def escape_unknown() -> None:
    """Let standard output and error escape the characters that their encoding lacks, such as those of file names."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(lines: Iterable[str]) -> None:
    """Print lines, for a terminal without control characters; whoever reads them may stop, as `head` does."""
    shown = escaped if sys.stdout.isatty() else str
    try:
        for line in lines:
            print(shown(line))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
