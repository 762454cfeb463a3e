"""Spark SQL as versions of Spark read it."""

from __future__ import annotations

import pytest
import sqlglot

from jobs.queries import spark_dialect


@pytest.mark.parametrize(
    ("pyspark", "quotes", "apostrophe"),
    [
        ("4.0.4", "'its'", "'it' || 's'"),
        ("4.1.0", "'its'", "'it''s'"),
        ("4.2.0.dev1", "'its'", "'it''s'"),
        ("5.0", "'its'", "'it''s'"),
    ],
)
def test_doubled_quotes_are_one_from_4_1_on(pyspark: str, quotes: str, apostrophe: str) -> None:
    dialect = spark_dialect.dialect(pyspark)
    for text, expected in (("'its'", quotes), ("'it''s'", apostrophe), ("'it\\'s'", "'it''s'")):
        assert sqlglot.transpile(f"SELECT {text}", read=dialect, write="duckdb") == [f"SELECT {expected}"]
