"""Answers as text: cells, tables, CSV, JSON and Markdown, and values of every type."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest

from jobs.lake import formats
from jobs.lake.formats import MAX_ROWS, MAX_WIDTH, Answer, cell, plain_rows

MAP = pa.map_(pa.string(), pa.float64())
STRUCT = pa.struct([("at", pa.timestamp("us", tz="UTC")), ("tags", pa.list_(pa.string()))])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, "0.333333"),
        (None, "NULL"),
        (True, "True"),
        (Decimal("0.00050"), "0.00050"),
        (math.nan, "nan"),
        ([1, None, "it's"], """[1, NULL, "it's"]"""),
        ({"a": [0.5]}, "{'a': [0.5]}"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("/out/" + "p" * 200 + ".webp", "/out/" + "p" * 200 + ".webp"),
    ],
)
def test_a_value_is_one_line_and_a_path_is_whole(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_prose_is_cut() -> None:
    shown = cell("many words " * 20)
    assert len(shown) == MAX_WIDTH
    assert shown.endswith("...")


@pytest.mark.parametrize(
    ("value", "type_", "plain"),
    [
        (datetime(2026, 5, 1, 12, tzinfo=UTC), pa.timestamp("us", tz="UTC"), "2026-05-01T12:00:00Z"),
        (
            datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))),
            pa.timestamp("us", tz="+02:00"),
            "2026-05-01T10:00:00Z",
        ),
        (datetime(2026, 5, 1, 12, 0, 0, 5), pa.timestamp("us"), "2026-05-01T12:00:00.000005Z"),
        (1_000_000_001, pa.timestamp("ns", tz="UTC"), "1970-01-01T00:00:01Z"),
        (date(2026, 5, 1), pa.date32(), "2026-05-01"),
        (timedelta(days=1, seconds=2), pa.duration("us"), "1 day, 0:00:02"),
        ((14, 3, 5_000_000), pa.month_day_nano_interval(), "14 months, 3 days, 0:00:00.005000"),
        (b"\x00\xff", pa.binary(), "00ff"),
        (Decimal("1.50"), pa.decimal128(5, 2), Decimal("1.50")),
        ([("b", 1.0), ("a", None)], MAP, {"b": 1.0, "a": None}),
        (
            {"at": datetime(2026, 5, 1, tzinfo=UTC), "tags": ["x", None]},
            STRUCT,
            {"at": "2026-05-01T00:00:00Z", "tags": ["x", None]},
        ),
        ([{"at": None, "tags": None}], pa.list_(STRUCT), [{"at": None, "tags": None}]),
        (None, STRUCT, None),
    ],
)
def test_a_value_of_arrow_becomes_a_plain_one(value: object, type_: pa.DataType, plain: object) -> None:
    batch = pa.record_batch([pa.array([value], type_)], names=["x"])
    assert [*plain_rows([batch])] == [(plain,)]


def lines(format: str, *rows: tuple[object, ...], heads: tuple[str, ...] = ("name", "value")) -> list[str]:
    """An answer of literal rows in a format."""
    return [*formats.lines(Answer(heads, rows), format)]


def test_a_table_is_aligned_to_the_right() -> None:
    assert lines("table", ("a", 1), ("long", None)) == ["name value", "   a     1", "long  NULL"]


def test_an_empty_table_has_its_heads() -> None:
    assert lines("table") == ["name  value", "(no rows)"]


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_a_long_table_is_cut_and_says_so(format: str) -> None:
    many = lines(format, *[("a", n) for n in range(MAX_ROWS + 1)])
    assert many[-1].startswith(f"(more than {MAX_ROWS} rows")
    assert not any(str(MAX_ROWS) in line for line in many[:-1])
    assert lines(format, *[("a", n) for n in range(MAX_ROWS)])[-1].strip("| ").endswith("999")


def test_csv_is_read_back() -> None:
    rows = [("a,b", None), ('say "x"\nnext', 0.1), ("", [1, {"k": None}]), ("n", math.nan), ("b", True)]
    read = [*csv.reader(io.StringIO("\n".join(lines("csv", *rows))))]
    assert read == [
        ["name", "value"],
        ["a,b", ""],
        ['say "x"\nnext', "0.1"],
        ["", '[1, {"k": null}]'],
        ["n", "NaN"],
        ["b", "true"],
    ]


def test_csv_and_json_have_every_row() -> None:
    many = [("a", n) for n in range(MAX_ROWS + 500)]
    assert len(lines("csv", *many)) == MAX_ROWS + 501
    assert len(json.loads("".join(lines("json", *many)))) == MAX_ROWS + 500


def test_json_is_an_array_of_one_object_per_line() -> None:
    rows = [("a\x1b\x9b", None), ("é", {"k": [math.nan, -math.inf]}), ("d", Decimal("0.10"))]
    found = lines("json", *rows)
    assert json.loads("\n".join(found)) == [
        {"name": "a\x1b\x9b", "value": None},
        {"name": "é", "value": {"k": ["NaN", "-Infinity"]}},
        {"name": "d", "value": 0.1},
    ]
    assert len(found) == len(rows) + 1
    assert "0.10" in found[2]
    assert not any(char in "".join(found) for char in "\x1b\x9b")  # a terminal would obey them
    assert lines("json") == ["[]"]


def test_markdown_escapes_bars_and_lines() -> None:
    assert lines("markdown", ("a|b\nc", 1)) == ["| name | value |", "| --- | --- |", "| a\\|b\\nc | 1 |"]
