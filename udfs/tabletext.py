"""The bytes of a CSV or JSON manifest -> its text, its encoding, what stands between its columns."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from udfs.source import EDGES

BLOCK = 1 << 20
DELIMITERS = (",", "\t", ";", "|")
MAX_DEPTH = 100  # of a line of JSON
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
AS_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"


def encoding(head: bytes) -> str:
    """Of a text by its byte order mark: utf-8-sig or utf-16, without one utf-8.

    Raises:
        ValueError: it holds NULs, as UTF-16 without a mark does, or a zip, as a spreadsheet is.
    """
    found = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise ValueError("a spreadsheet or an archive by its content, no text")
    if found != "utf-16" and b"\0" in head:
        raise ValueError(f"no text, or UTF-16 without a byte order mark: {AS_UTF8}")
    return found


def decoded(data: bytes) -> str:
    """A whole text.

    Raises:
        ValueError: what `encoding` raises, or the first byte that is no UTF-8.
    """
    try:
        return data.decode(encoding(data[:BLOCK]))
    except UnicodeDecodeError as e:
        raise ValueError(f"{_wrong(e, 0)}: {AS_UTF8}") from e


def check(file: BinaryIO) -> None:
    """Read a text through, a block at a time, for bytes that are no UTF-8; Spark would read them as a question mark.

    Raises:
        ValueError: where there are some.
    """
    decoder, start = codecs.getincrementaldecoder("utf-8")(), 0
    while block := file.read(BLOCK):
        try:
            decoder.decode(block)
        except UnicodeDecodeError as e:
            raise ValueError(f"{_wrong(e, start)}: {AS_UTF8}") from e
        start += len(block)


def check_depth(lines: Iterable[bytes]) -> None:
    """Look for a line of JSON that is nested so deeply that Spark's JVM would die of it.

    Raises:
        ValueError: there is one.
    """
    for number, line in enumerate(lines, start=1):
        if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
            raise ValueError(f"line {number} is nested more than {MAX_DEPTH} deep")


def _depth(line: bytes) -> int:
    depth = deepest = 0
    for token in TOKENS.findall(line):
        depth += 1 if token in b"{[" else -1 if token in b"}]" else 0
        deepest = max(deepest, depth)
    return deepest


def _wrong(error: UnicodeDecodeError, start: int) -> str:
    return f"byte 0x{error.object[error.start]:02x} near byte {start + error.start} is no {error.encoding.upper()}"


def delimiter(head: str, column: str) -> str:
    """What stands between the names of a CSV's first line: what sets the wanted column apart, by default the comma.

    Raises:
        ValueError: the first line is not of names, but of Excel's own.
    """
    line = head.lstrip(EDGES).partition("\n")[0]
    if line.lower().startswith("sep="):
        raise ValueError("begins with Excel's line sep=: remove it")
    for sign in DELIMITERS:
        if column_named(column, next(csv.reader([line], delimiter=sign), [])) is not None:
            return sign
    return ","


def column_named(wanted: str, names: Sequence[str]) -> str | None:
    """The column of that name, else the only one of that name but for blanks around it and capital letters."""
    if wanted in names:
        return wanted
    like = [name for name in names if name.strip(EDGES).casefold() == wanted.casefold()]
    return like[0] if len(like) == 1 else None
