"""Find out the encoding, delimiter and columns of a CSV or JSON manifest from its bytes."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from udfs.storage.uris import EDGES

BLOCK = 1 << 20
DELIMITERS = (",", "\t", ";", "|")
MAX_LINE_BYTES = 1 << 24
MAX_DEPTH = 100  # of a line of JSON
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
LINE_END = re.compile("[\r\n]")  # a CR alone is that of old Macs, and of Excel for them
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
AS_UTF8 = "save it as UTF-8 (in Excel: CSV UTF-8)"


def encoding(head: bytes) -> str:
    """The encoding that the byte order mark states: utf-8-sig or utf-16; utf-8 without a mark.

    Raises:
        ValueError: the text has NULs, as UTF-16 without a mark does, or is a zip file, as a
            spreadsheet is.
    """
    name = next((name for mark, name in MARKS.items() if head.startswith(mark)), "utf-8")
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise ValueError("a spreadsheet or an archive by its content, not text")
    if name != "utf-16" and b"\0" in head:
        raise ValueError(f"not text, or UTF-16 without a byte order mark: {AS_UTF8}")
    return name


def decode(data: bytes) -> str:
    """The text of the bytes.

    Raises:
        ValueError: as from `encoding`, or the bytes are not in that encoding; it names the first
            that is not.
    """
    try:
        return data.decode(encoding(data[:BLOCK]))
    except UnicodeDecodeError as e:
        raise ValueError(f"{_describe(e, 0)}: {AS_UTF8}") from e


def check(file: BinaryIO) -> None:
    """Refuse bytes that are not UTF-8, which Spark would read as question marks, and a line too long for its memory.

    Reads one block at a time.

    Raises:
        ValueError: there is such a byte, or a line of more than MAX_LINE_BYTES.
    """
    decoder, start, line = codecs.getincrementaldecoder("utf-8")(), 0, 0
    while block := file.read(BLOCK):
        end = block.find(b"\n")
        if line + (len(block) if end < 0 else end) > MAX_LINE_BYTES:
            raise ValueError(f"a line of more than {MAX_LINE_BYTES >> 20} MiB near byte {start}")
        line = line + len(block) if end < 0 else len(block) - block.rfind(b"\n") - 1
        try:
            decoder.decode(block)
        except UnicodeDecodeError as e:
            raise ValueError(f"{_describe(e, start)}: {AS_UTF8}") from e
        start += len(block)


def check_depth(lines: Iterable[bytes]) -> None:
    """Refuse a line of JSON nested more than MAX_DEPTH deep, which may overflow the stack of Spark's JVM.

    Raises:
        ValueError: there is such a line.
    """
    for number, line in enumerate(lines, start=1):
        if line.count(b"{") + line.count(b"[") > MAX_DEPTH and _depth(line) > MAX_DEPTH:
            raise ValueError(f"line {number} is nested more than {MAX_DEPTH} deep")


def _depth(line: bytes) -> int:
    """The depth of objects and arrays in a line of JSON."""
    depth = deepest = 0
    for token in TOKENS.finditer(line):
        depth += 1 if token[0] in b"{[" else -1 if token[0] in b"}]" else 0
        deepest = max(deepest, depth)
    return deepest


def _describe(error: UnicodeDecodeError, start: int) -> str:
    return f"byte 0x{error.object[error.start]:02x} near byte {start + error.start} is not {error.encoding.upper()}"


def delimiter(head: str, column: str) -> str:
    """The delimiter with which the first line of a CSV has the column; a comma if there is none.

    Raises:
        ValueError: the first line is Excel's `sep=`, or no line of a CSV.
    """
    line = LINE_END.split(head.lstrip(EDGES), 1)[0]
    if line.lower().startswith("sep="):
        raise ValueError("begins with the line sep= of Excel: remove it")
    try:
        for sign in DELIMITERS:
            if column_named(column, next(csv.reader([line], delimiter=sign), [])) is not None:
                return sign
    except csv.Error as e:
        raise ValueError(f"its first line is none of a CSV: {e}") from e
    return ","


def column_named(title: str, names: Sequence[str]) -> str | None:
    """The column with that name, else the only one whose name differs just in case and surrounding blanks."""
    if title in names:
        return title
    alike = [name for name in names if name.strip(EDGES).casefold() == title.casefold()]
    return alike[0] if len(alike) == 1 else None
