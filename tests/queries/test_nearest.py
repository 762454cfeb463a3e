"""The nearest clips without Spark: the best of all batches, in memory for one batch."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from jobs.queries import nearest

ROWS = 500  # per batch
ONE = np.array([1, 0], np.float32)


def batch(number: int) -> pa.RecordBatch:
    """Vectors of which the first is the more like ONE, the greater the number of the batch."""
    angles = np.linspace(1 / (number + 1), np.pi, ROWS)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    ids = [f"{number:03}-{place:03}" for place in range(ROWS)]
    return pa.RecordBatch.from_pydict({"clip_id": ids, "vector": [*vectors]})


def test_the_nearest_of_all_batches_come_first() -> None:
    found = nearest._nearest((batch(number) for number in range(5)), ONE, 3)
    assert [clip_id for _, clip_id in found] == ["004-000", "004-001", "004-002"]
    assert found[0][0] == pytest.approx(np.cos(0.2), abs=1e-6)


def test_of_equally_near_ones_the_least_id_comes_first() -> None:
    both = [pa.RecordBatch.from_pydict({"clip_id": [name], "vector": [ONE]}) for name in "ba"]
    assert nearest._nearest(iter(both), ONE, 9) == [(1.0, "a"), (1.0, "b")]


def test_the_rows_of_batches_before_are_not_kept() -> None:
    made = [batch(number) for number in range(4)]
    batches: Iterator[pa.RecordBatch] = (made[number % 4] for number in range(100))
    tracemalloc.start()
    try:
        assert len(nearest._nearest(batches, ONE, 200)) == 200
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20  # the 20,000 rows of all batches take 6 MB
