"""The nearest vectors of each batch to a query vector."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from udfs.similarity import topk


def batch(ids: str, vectors: list[list[float]]) -> pa.RecordBatch:
    """Clips of one letter each, with their vectors."""
    column = pa.array(vectors, pa.list_(pa.float32()))
    return pa.RecordBatch.from_arrays([pa.array(list(ids), pa.string()), column], names=["clip_id", "vector"])


def nearest(batches: list[pa.RecordBatch], vector: list[float], top: int) -> list[list[tuple[str, float]]]:
    """The hits of each batch."""
    answers = topk.nearest(iter(batches), np.array(vector, np.float32), top)
    return [[(row["clip_id"], round(row["similarity"], 3)) for row in answer.to_pylist()] for answer in answers]


def test_each_batch_answers_by_itself() -> None:
    batches = [batch("abc", [[0, 1], [1, 0], [0.6, 0.8]]), batch("d", [[-1, 0]])]
    assert nearest(batches, [1, 0], 2) == [[("b", 1.0), ("c", 0.6)], [("d", -1.0)]]


def test_a_slice_of_a_batch_is_that_slice() -> None:
    whole = batch("abcd", [[1, 0], [0, 1], [0.6, 0.8], [1, 0]])
    assert nearest([whole.slice(1, 2)], [1, 0], 9) == [[("c", 0.6), ("b", 0.0)]]


def test_an_empty_batch_has_no_hits_and_a_vector_of_zeros_a_cosine_of_zero() -> None:
    assert nearest([batch("", []), batch("a", [[0, 0]])], [1, 0], 9) == [[], [("a", 0.0)]]


def test_ties_stay_in_the_order_of_the_batch() -> None:
    assert nearest([batch("xaby", [[0.6, 0.8]] * 3 + [[0, 1]])], [1, 0], 3) == [[("x", 0.6), ("a", 0.6), ("b", 0.6)]]


def test_rounding_does_not_lift_a_similarity_above_one() -> None:
    vector = np.full(7, 0.378, np.float32)  # a little longer than 1
    (answer,) = topk.nearest(iter([batch("a", [vector.tolist()])]), vector, 1)
    assert float(vector @ vector) > 1
    assert answer.column("similarity").to_pylist() == [1.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_agrees_with_cosines_in_double_precision(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(26, 9))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = (-(rows @ rows[0])).argsort()[:5]
    (answer,) = nearest([batch("abcdefghijklmnopqrstuvwxyz", rows.tolist())], rows[0].tolist(), 5)
    assert [name for name, _ in answer] == ["abcdefghijklmnopqrstuvwxyz"[i] for i in order]
