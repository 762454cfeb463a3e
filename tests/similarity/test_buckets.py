"""Pairs in buckets: each clip with the first of its bucket, and which buckets are full."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from udfs.similarity import buckets
from udfs.similarity.buckets import STORED, Limits

LIMITS = Limits(max_distance=2, min_agree=2, max_bucket=3)
Row = tuple[int, int, str | None, list[int]]  # key, place, clip_id, hashes


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as Spark sends them."""
    names = ("key", "place", "clip_id", "hashes")
    types = (pa.int64(), pa.int64(), pa.string(), pa.list_(pa.int64()))
    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)], names=names)


def found(*batches: Sequence[Row], limits: Limits = LIMITS) -> list[dict[str, Any]]:
    """The rows of `buckets.rows`, by place."""
    rows = [row for b in buckets.rows(map(batch, batches), limits) for row in b.to_pylist()]
    return sorted(
        rows, key=lambda row: (row["full"] is not None, row["later"], row["earlier"] or 0, row["copy_of"] or "")
    )


def test_clips_with_an_equal_key_whose_hashes_agree_are_pairs() -> None:
    rows = found([(1, 0, None, [7, 8]), (2, 1, None, [7, 8]), (1, 2, None, [7, 11]), (1, 3, None, [7, -8])])
    assert rows == [
        {
            "later": 2,
            "earlier": 0,
            "copy_of": None,
            "num_agree": 2,
            "distance": 1.0,
            "same": False,
            "full": None,
        }
    ]


def test_a_stored_clip_comes_first_and_is_compared_with_none() -> None:
    rows = found([(1, 5, None, [9, 9])], [(1, STORED, "b", [9, 9]), (1, STORED, "a", [9, 8])])
    assert [(row["later"], row["earlier"], row["copy_of"], row["distance"], row["same"]) for row in rows] == [
        (5, STORED, "a", 0.5, False),
        (5, STORED, "b", 0.0, True),
    ]


def test_a_hash_of_nothing_agrees_with_none() -> None:
    assert found([(1, 0, None, [0, 5, 5]), (1, 1, None, [0, 5, 0])]) == []


def test_a_bucket_is_compared_with_its_first_clips_and_who_comes_to_a_full_one_is_named() -> None:
    rows = found([(4, place, None, [1, 1]) for place in range(5)] + [(4, STORED, "a", [1, 1]), (5, 9, None, [1, 1])])
    pairs = {(row["later"], row["earlier"]) for row in rows if row["full"] is None}
    assert pairs == {(k, earlier) for k in range(5) for earlier in (STORED, 0, 1) if earlier < k}
    assert [(row["later"], row["full"]) for row in rows if row["full"] is not None] == [(2, 4), (3, 4), (4, 4)]


def test_no_rows_make_no_pairs() -> None:
    assert list(buckets.rows([], LIMITS)) == []
    assert list(buckets.rows([batch([(1, 0, None, [1])])[:0]], LIMITS)) == []


@pytest.mark.parametrize("at_once", [1, 7, 1 << 20])
def test_any_rows_in_any_batches_are_paired_as_one_by_one(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "PAIRS_AT_ONCE", at_once)
    dice = np.random.default_rng(3)
    rows: list[Row] = [(int(dice.integers(9)), place, None, dice.integers(0, 16, 3).tolist()) for place in range(120)]
    limits = LIMITS._replace(max_bucket=200)
    pairs = {
        (row["later"], row["earlier"], row["num_agree"], row["distance"])
        for row in found(rows[:50], rows[50:], limits=limits)
    }
    expected = set()
    for (key, place, _, a), (other_key, later, _, b) in combinations(rows, 2):
        bits = [(x ^ y).bit_count() for x, y in zip(a, b, strict=True) if x and y]
        near = [n for n in bits if n <= limits.max_distance]
        if key == other_key and len(near) >= limits.min_agree:
            expected.add((later, place, len(near), sum(near) / len(near)))
    assert pairs == expected
    assert len(expected) > 50
