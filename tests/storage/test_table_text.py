"""Encodings and delimiters of CSV files as spreadsheets and other systems write them."""

from __future__ import annotations

import io
from contextlib import nullcontext

import pytest

from udfs.storage import table_text


@pytest.mark.parametrize(
    ("head", "sign"),
    [
        ("uri,a\n", ","),
        ("uri;a\r\n", ";"),
        ("uri\ta\n", "\t"),
        ("a|uri\n", "|"),
        ("\ufeffuri;a\n", ";"),
        ('"a;b",uri\n', ","),
        ('"uri";"a"\n', ";"),
        ("uri\n", ","),
        ("path;x\n", ","),
        (" URI ;x\n", ";"),
        ("", ","),
        ("uri;a\r1;2\r", ";"),
    ],
)
def test_the_delimiter_with_which_the_column_is_there(head: str, sign: str) -> None:
    assert table_text.delimiter(head, "uri") == sign


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a", "uri"], "uri"), (["URI"], "URI"), ([" uri\u200b"], " uri\u200b"), (["URI", "Uri"], None), (["url"], None)],
)
def test_a_column_is_found_but_for_blanks_and_capitals(names: list[str], found: str | None) -> None:
    assert table_text.column_named("uri", names) == found


def test_a_first_line_that_no_csv_has_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="its first line is none of a CSV: field larger than field limit"):
        table_text.delimiter("uri," + "x" * 200_000, "uri")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("uri\n/caf\u00e9.mp4\n".encode("latin-1"), "byte 0xe9 near byte 8 is not UTF-8: save it as UTF-8"),
        ("uri\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"PK\x03\x04", "a spreadsheet or an archive"),
        (b"\xff\xfeu", "is not UTF-16"),
    ],
)
def test_bytes_that_are_not_text_are_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as e:
        table_text.decode(data)
    assert "\n" not in str(e.value)


def test_a_long_text_is_checked_to_its_end() -> None:
    with pytest.raises(ValueError, match=r"byte 0xe9 near byte 3000000 "):
        table_text.check(io.BytesIO("\u00e9".encode() * 1_500_000 + b"\xe9x"))
    table_text.check(io.BytesIO("\u00e9".encode() * 1_500_000))


@pytest.mark.parametrize("before", [b"", b"uri\n" * 1000])
def test_a_line_too_long_for_memory_is_refused(before: bytes) -> None:
    longest = b"a" * table_text.MAX_LINE_BYTES
    table_text.check(io.BytesIO(before + longest + b"\n" + longest))
    with pytest.raises(ValueError, match="a line of more than 16 MiB near byte 16777216"):
        table_text.check(io.BytesIO(before + longest + b"a\n"))


@pytest.mark.parametrize(
    ("line", "is_deep"),
    [
        (b'{"a":' * 101 + b"1", True),
        (b"[" * 101, True),
        (b'{"a": 1}' * 500, False),
        (b'{"a": "' + b"{" * 500 + b'\\""}', False),
    ],
)
def test_a_line_nested_too_deeply_for_spark_is_refused(line: bytes, is_deep: bool) -> None:
    with pytest.raises(ValueError, match="line 2 is nested more than 100 deep") if is_deep else nullcontext():
        table_text.check_depth([b"{}\n", line])
