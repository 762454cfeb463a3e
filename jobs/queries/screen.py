"""Lines of an answer for people: labels, addresses that stay whole, and text that wraps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from jobs.lake.formats import cell, plain
from jobs.queries.reader import Row
from udfs.core import terminal
from udfs.storage.uris import redacted

LABEL = 11  # characters of a label
NARROW = 60  # characters, below which text begins right behind its label


def labeled(label: str, text: str, width: int) -> Iterator[str]:
    """A text below its label."""
    size = LABEL if width >= NARROW else 0
    yield from terminal.wrapped(plain(text), width, f"  {label:<{size}} ", _indent(width))


def place(label: str, uri: str | None, more: str, width: int, *, before: str = "") -> Iterator[str]:
    """An address, which is never cut or wrapped so that it can be copied, and more about it."""
    line = f"  {label:<{LABEL if width >= NARROW else 0}} {before}{address(uri)}"
    if not more:
        yield line
    elif len(line) + len(more) + 2 <= width:
        yield f"{line}, {more}"
    else:
        yield line
        yield from terminal.wrapped(more, width, _indent(width), _indent(width))


def _indent(width: int) -> str:
    return " " * (LABEL + 3 if width >= NARROW else 4)


def address(uri: str | None) -> str:
    """An address without passwords and signatures."""
    return "(address unknown)" if uri is None else plain(redacted(uri))


def command(label: str, words: str) -> str:
    """A command below its label, which is never wrapped so that it can be copied."""
    return f"  {label:<{LABEL}} {words}"


def seconds(row: Row) -> str:
    """The stretch of a video that a clip is cut from."""
    return f"{cell(row.get('start_s'))}-{cell(row.get('end_s'))} s"


def listed(values: Iterable[str] | None) -> str:
    """Values in brackets, with a blank before; empty if there are none."""
    shown = ", ".join(values or ())
    return f" ({shown})" if shown else ""


def moment(time: str | None) -> str:
    """A time to the minute, in UTC."""
    return f"{time[:16].replace('T', ' ')} UTC" if time else "at an unknown time"


def made(rows: Iterable[Row], width: int) -> Iterator[str]:
    """By which settings rows were made: a line per run and difference."""
    for (run_id, how), group in groupby(rows, key=lambda row: (row["run_id"], _how(row))):
        yield from labeled("made by", f"run {run_id}: {', '.join(row['stage'] for row in group)}; {how}", width)


def _how(row: Row) -> str:
    if row["is_current"]:
        return "settings in force"
    if row["is_current"] is None:
        return "a run that ended before its settings were noted"
    changed = "; ".join(map(change, row["changed"]))
    return f"earlier settings, whose work is pending again: {changed or 'another model or version of code'}"


def change(difference: Row) -> str:
    """A setting as it was then and is now."""
    return f"{difference['setting']} {_value(difference['then'])}, now {_value(difference['now'])}"


def _value(value: object) -> str:
    return "unset" if value is None else cell(value)


def grid(heads: list[str], rows: list[list[str]], width: int) -> Iterator[str]:
    """A table whose first column is aligned left; of a row that is too wide, a line per cell."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    if 2 + sum(widths) + 2 * (len(widths) - 1) <= width:
        for row in (heads, *rows):
            cells = [
                f"{text:<{size}}" if place == 0 else f"{text:>{size}}"
                for place, (text, size) in enumerate(zip(row, widths, strict=True))
            ]
            yield f"  {'  '.join(cells)}".rstrip()
        return
    for row in rows:
        cells = [f"{head} {text}" for head, text in zip(heads[1:], row[1:], strict=True) if text]
        yield from labeled(row[0], ", ".join(cells), width)
