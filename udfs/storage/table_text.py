"""Encoding, delimiter and columns of a CSV or JSON manifest, by its bytes."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from udfs.storage.uris import EDGES

BLOCK = 1 << 20
DELIMITERS = (",", "\t", ";", "|")
MAX_DEPTH = 100  # of a line of JSON
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
AS_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"


def encoding(head: bytes) -> str:
    """The encoding by the byte order mark: utf-8-sig or utf-16; utf-8 without one.

    Raises:
        ValueError: there are NULs, as in UTF-16 without a mark, or a zip, as a spreadsheet is.
    """
    found = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise ValueError("a spreadsheet or an archive by its content, no text")
    if found != "utf-16" and b"\0" in head:
        raise ValueError(f"no text, or UTF-16 without a byte order mark: {AS_UTF8}")
    return found


def decode(data: bytes) -> str:
    """The text of the bytes.

    Raises:
        ValueError: as `encoding`; or a byte is no UTF-8, of which the first is named.
    """
    try:
        return data.decode(encoding(data[:BLOCK]))
    except UnicodeDecodeError as e:
        raise ValueError(f"{_describe(e, 0)}: {AS_UTF8}") from e


def check(file: BinaryIO) -> None:
    """Look for bytes that are no UTF-8, which Spark would read as question marks; a block is read at a time.

    Raises:
        ValueError: there is one.
    """
    decoder, start = codecs.getincrementaldecoder("utf-8")(), 0
    while block := file.read(BLOCK):
        try:
            decoder.decode(block)
        except UnicodeDecodeError as e:
            raise ValueError(f"{_describe(e, start)}: {AS_UTF8}") from e
        start += len(block)


def check_depth(lines: Iterable[bytes]) -> None:
    """Look for a line of JSON nested over MAX_DEPTH deep, which may overflow the stack of Spark's JVM.

    Raises:
        ValueError: there is one.
    """
    for number, line in enumerate(lines, start=1):
        if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
            raise ValueError(f"line {number} is nested more than {MAX_DEPTH} deep")


def _depth(line: bytes) -> int:
    """The depth of objects and arrays in a line of JSON."""
    depth = deepest = 0
    for token in TOKENS.findall(line):
        depth += 1 if token in b"{[" else -1 if token in b"}]" else 0
        deepest = max(deepest, depth)
    return deepest


def _describe(error: UnicodeDecodeError, start: int) -> str:
    return f"byte 0x{error.object[error.start]:02x} near byte {start + error.start} is no {error.encoding.upper()}"


def delimiter(head: str, column: str) -> str:
    """The delimiter by which the first line of a CSV has the wanted column; the comma if there is none.

    Raises:
        ValueError: the first line is Excel's `sep=`.
    """
    line = head.lstrip(EDGES).partition("\n")[0]
    if line.lower().startswith("sep="):
        raise ValueError("begins with Excel's line sep=: remove it")
    for sign in DELIMITERS:
        if column_named(column, next(csv.reader([line], delimiter=sign), [])) is not None:
            return sign
    return ","


def column_named(title: str, names: Sequence[str]) -> str | None:
    """The column of that name, else the only one that differs from it only in case and surrounding blanks."""
    if title in names:
        return title
    alike = [name for name in names if name.strip(EDGES).casefold() == title.casefold()]
    return alike[0] if len(alike) == 1 else None
