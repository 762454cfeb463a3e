"""Tables as declared: a key is among the columns, and checks are SQL that NULL passes and NaN does not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from schemas import TABLES
from schemas.table import FINGERPRINT, RUN_ID, at_least, column, in_order, other_than, table, within

CLIP = column("clip_id", pa.string(), "clip", nullable=False)
SCORE = column("score", pa.float64(), "from 0 to 1")


def test_a_column_has_its_comment_and_says_whether_it_may_be_null() -> None:
    assert (CLIP.metadata, CLIP.nullable) == ({b"comment": b"clip"}, False)
    assert SCORE.nullable


def test_a_table_has_its_columns_in_order_and_no_checks_of_its_own_accord() -> None:
    scores = table("scores", ("clip_id",), "scores of clips", CLIP, SCORE, FINGERPRINT, RUN_ID)
    assert scores.schema.names == ["clip_id", "score", "fingerprint", "run_id"]
    assert (scores.checks, scores.renamed, scores.cluster_by) == ({}, {}, None)
    assert scores.stage_columns == ["clip_id", "score"]


def test_a_key_that_is_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^table scores: key columns \['video_id'\] are not declared$"):
        table("scores", ("clip_id", "video_id"), "scores of clips", CLIP, SCORE)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_says_by_which_settings_and_in_which_run_it_was_made(name: str) -> None:
    assert TABLES[name].schema.names[-2:] == ["fingerprint", "run_id"]
    assert not {"fingerprint", "run_id"} & set(TABLES[name].stage_columns)


@pytest.mark.parametrize("name", TABLES)
def test_checks_and_layouts_name_columns_of_their_table(name: str) -> None:
    declared = TABLES[name]
    assert set(declared.key) <= set(declared.schema.names)
    assert declared.cluster_by is None or declared.cluster_by in declared.schema.names
    assert set(declared.renamed) <= set(declared.schema.names)
    assert not set(declared.renamed.values()) & set(declared.schema.names)


@pytest.mark.parametrize("name", TABLES)
def test_no_column_of_floating_point_numbers_has_a_lower_bound_alone(name: str) -> None:
    """NaN would pass it."""
    floating = {field.name for field in TABLES[name].schema if pa.types.is_floating(field.type)}
    lower = {within(column, least) for column in floating for least in (0, 1)}
    assert not lower & set(TABLES[name].checks.values())


@pytest.mark.spark
@pytest.mark.parametrize(
    ("check", "passes", "fails"),
    [
        (within("x", 0, 1), ["NULL", "0D", "1D"], ["-0.1D", "1.1D", "double('NaN')"]),
        (at_least("x", 0), ["NULL", "0D", "1e9D"], ["-0.1D", "double('NaN')"]),
        (within("x", 1), ["NULL", "1", "7"], ["0"]),
        (in_order("x", "2"), ["NULL", "1"], ["2", "3"]),
        (in_order("x", "2", "<="), ["NULL", "2"], ["3"]),
        (in_order("2", "x"), ["NULL", "3"], ["2"]),
        (other_than("x", "'me'"), ["NULL", "'you'"], ["'me'"]),
    ],
)
def test_a_check_is_true_of_null_and_false_of_what_is_wrong(
    spark: SparkSession, check: str, passes: list[str], fails: list[str]
) -> None:
    cases = [f"SELECT {i} AS n, {check} AS ok FROM (SELECT {x} AS x)" for i, x in enumerate((*passes, *fails))]
    rows = spark.sql(" UNION ALL ".join(cases)).collect()
    assert [row["ok"] for row in sorted(rows, key=lambda row: row["n"])] == [True] * len(passes) + [False] * len(fails)
