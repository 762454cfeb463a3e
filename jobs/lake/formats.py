"""Answers of either SQL engine as text: a table, CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.types as pat

from udfs.core import terminal

FORMATS = ("table", "csv", "json", "markdown")
MAX_ROWS = 1000  # of a table; CSV and JSON have all rows
MAX_WIDTH = 80  # characters of a cell; a cell without blanks, such as a path, is shown whole
MORE = f"(more than {MAX_ROWS} rows: add a LIMIT, or ask for --format csv or json)"
EPOCH = datetime(1970, 1, 1)
IS_PLAIN = (pat.is_boolean, pat.is_integer, pat.is_floating, pat.is_decimal, pat.is_string, pat.is_large_string)
CONTROLS = re.compile(r"[\x7f-\x9f]")  # which JSON leaves as they are, and a terminal obeys


class Answer(NamedTuple):
    """The names of an answer's columns, and its rows as plain values, which may be computed as they are read."""

    heads: Sequence[str]
    rows: Iterable[tuple[Any, ...]]


def lines(answer: Answer, format: str) -> Iterator[str]:
    """The lines of an answer in one of FORMATS."""
    return {"table": table, "csv": csv_lines, "json": json_lines, "markdown": markdown}[format](answer)


def table(answer: Answer) -> Iterator[str]:
    """A plain table of at most MAX_ROWS rows, with control characters escaped."""
    heads = [cell(head) for head in answer.heads]
    first, more = _first_rows(answer)
    if not first:
        yield "  ".join(heads)
        yield "(no rows)"
        return
    grid = [heads, *([cell(value) for value in row] for row in first)]
    widths = [max(len(text) for text in column) for column in zip(*grid, strict=True)]
    for row in grid:
        yield " ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
    yield from more


def markdown(answer: Answer) -> Iterator[str]:
    """A Markdown table of at most MAX_ROWS rows; bars within cells are escaped."""
    first, more = _first_rows(answer)
    grid = [answer.heads, ["---"] * len(answer.heads), *first]
    for row in grid:
        yield f"| {' | '.join(cell(value).replace('|', chr(92) + '|') for value in row)} |"
    if more:
        yield from ("", *more)


def csv_lines(answer: Answer) -> Iterator[str]:
    """CSV with a head: NULL is empty, nested values are JSON."""
    yield _csv_line(answer.heads)
    for row in answer.rows:
        yield _csv_line([_csv_cell(value) for value in row])


def json_lines(answer: Answer) -> Iterator[str]:
    """A JSON array with one object per row and line."""
    before = "["
    for row in answer.rows:
        pairs = (f"{json_text(head)}: {json_text(value)}" for head, value in zip(answer.heads, row, strict=True))
        yield f"{before}{{{', '.join(pairs)}}}"
        before = ","
    yield "]" if before == "," else "[]"


def plain_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    """The rows of Arrow batches as plain values.

    These are None, bool, int, float, Decimal, str, list, and dict for structs and maps. Times are
    ISO text in UTC; bytes are text in hex.
    """
    for batch in batches:
        columns = [_plain_column(column) for column in batch.columns]
        yield from zip(*columns, strict=True) if columns else ()


def cell(value: object) -> str:
    """A value in one line, prose cut to MAX_WIDTH."""
    shown = plain(value)
    return f"{shown[: MAX_WIDTH - 3]}..." if len(shown) > MAX_WIDTH and " " in shown else shown


def plain(value: object) -> str:
    """A value in one line, with control characters escaped."""
    shown = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else _nested(value)
    return terminal.escaped(shown, keep="")


def json_text(value: object) -> str:
    """A plain value as JSON; numbers that JSON does not have are text, as Spark's to_json writes them."""
    if isinstance(value, list):
        return f"[{', '.join(map(json_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json_text(str(key))}: {json_text(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and not math.isfinite(value):
        return f'"{_odd_number(value)}"'
    return CONTROLS.sub(lambda c: f"\\u{ord(c[0]):04x}", json.dumps(value, ensure_ascii=False))


def _first_rows(answer: Answer) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The first MAX_ROWS rows, and a line that says so if there are more."""
    first = list(islice(answer.rows, MAX_ROWS + 1))
    return first[:MAX_ROWS], [MORE] if len(first) > MAX_ROWS else []


def _nested(value: object) -> str:
    """A value as the part of a cell: NULL, [1, 'a'] or {'key': 1.5}."""
    if isinstance(value, list):
        return f"[{', '.join(map(_nested, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_nested(key)}: {_nested(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "NULL" if value is None else repr(value) if isinstance(value, str) else str(value)


def _csv_line(values: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _csv_cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float) and not math.isfinite(value):
        return _odd_number(value)
    return json_text(value)


def _odd_number(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain_column(column: pa.Array) -> list[Any]:
    if pat.is_timestamp(column.type):  # Python's times have no nanoseconds, and to_pylist imports pandas for times
        micros = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64()).to_pylist()
        return [None if value is None else _time_text(EPOCH + timedelta(microseconds=value)) for value in micros]
    values: list[Any] = column.to_pylist()
    return values if _is_plain(column.type) else [_plain(value, column.type) for value in values]


def _is_plain(type_: pa.DataType) -> bool:
    """Whether Python's values of a type are plain already: of a hundred thousand rows, that saves half of the time."""
    if pat.is_list(type_):
        return _is_plain(type_.value_type)
    return any(is_plain(type_) for is_plain in IS_PLAIN)


def _plain(value: Any, type_: pa.DataType) -> Any:
    if value is None or isinstance(value, bool | int | float | Decimal | str):
        return value
    if pat.is_map(type_):
        return {_plain(key, type_.key_type): _plain(inner, type_.item_type) for key, inner in value}
    if pat.is_struct(type_):
        return {field.name: _plain(value[field.name], field.type) for field in type_}
    if isinstance(value, list):
        return [_plain(inner, type_.value_type) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    return _time_text(value)


def _time_text(value: Any) -> str:
    if isinstance(value, datetime):  # without a zone it is in that of the session, UTC
        return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat() + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    months, days, nanoseconds = value  # an interval of Arrow
    span = str(timedelta(days=days, microseconds=nanoseconds // 1000))
    return f"{months} months, {span}" if months else span
