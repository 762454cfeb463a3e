"""The nearest vector of a flat index, tile by tile."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.vectors import unit
from udfs.similarity import neighbors
from udfs.similarity.neighbors import FlatIndex, Vectors


def vectors(num_rows: int, dim: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(num_rows, dim))).astype(np.float32)


def names(num_rows: int, width: int = 4) -> neighbors.Ids:
    return np.array([f"{i:0{width}d}" for i in range(num_rows)], np.bytes_)


def flat_index(rows: Vectors, precision: neighbors.Precision = "float32", pieces: int = 3) -> FlatIndex:
    index = FlatIndex(rows.shape[1], neighbors.arithmetic("cpu", precision))
    for some in np.array_split(np.arange(len(rows)), pieces):
        index.add(rows[some], names(len(rows))[some])
    return index


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 8), st.integers(0, 3), st.integers(1, 5))
def test_the_nearest_vector_does_not_depend_on_the_tiles(
    num_rows: int, num_queries: int, tile: int, in_memory: int, pieces: int
) -> None:
    rows, queries = vectors(num_rows, 5), vectors(num_queries, 5, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TILE", tile)
        patch.setattr(neighbors, "TILES_IN_MEMORY", in_memory)
        index = flat_index(rows, pieces=pieces)
        nearest = index.nearest(queries, min_cosine=0.9)
        assert np.array_equal(index.vectors_at(np.arange(num_rows)), rows)
        assert index.ids_at(np.arange(-1, num_rows)).tolist() == [None, *names(num_rows).tolist()]
    if not num_rows:
        assert nearest.position.tolist() == [-1] * num_queries
        assert np.all(np.isneginf(nearest.cosine))
        return
    cosines = queries @ rows.T
    assert nearest.position.tolist() == cosines.argmax(axis=1).tolist()
    assert nearest.cosine == pytest.approx(cosines.max(axis=1), abs=1e-6)


def test_ids_of_any_length_are_kept_whole() -> None:
    index = FlatIndex(2, neighbors.arithmetic("cpu", "float32"))
    for width in (3, 40, 5):
        index.add(vectors(2, 2), names(2, width))
    assert [len(name) for name in index.ids_at(np.arange(6))] == [3, 3, 40, 40, 5, 5]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_cosines_close_to_the_threshold_are_computed_again_in_float32(precision: neighbors.Precision) -> None:
    rows = vectors(500, 32)
    asked = unit(rows[:100] + unit(np.random.default_rng(2).normal(size=(100, 32))) * 0.45).astype(np.float32)
    asked[50:] = vectors(50, 32, seed=3)
    exact = flat_index(rows).nearest(asked, min_cosine=0.8)
    coarse = flat_index(rows, precision).nearest(asked, min_cosine=0.8)
    near = exact.cosine >= 0.8
    assert 10 < near.sum() < 90
    assert np.array_equal(coarse.position[near], exact.position[near])
    assert np.allclose(coarse.cosine[near], exact.cosine[near], atol=1e-6)
    assert not np.allclose(coarse.cosine[~near], exact.cosine[~near], atol=1e-6)  # else the test shows nothing
    assert np.allclose(coarse.cosine, exact.cosine, atol=neighbors.MAX_ERROR[precision])


def test_equal_vectors_are_found_where_every_number_is_rounded_down() -> None:
    """Each number is 0.34 % above a power of two, and bfloat16 rounds it to that."""
    rows = unit(np.ones((3, 1017))).astype(np.float32)
    index = flat_index(rows, "bfloat16")
    coarse = index._scan(rows, index.arithmetic.coarse).cosine
    assert 0.007 < 1 - coarse.max() < neighbors.MAX_ERROR["bfloat16"]
    assert index.nearest(rows, min_cosine=0.9999).cosine == pytest.approx(1, abs=1e-6)


def test_full_tiles_after_the_first_few_are_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "TILE", 256)
    rows = vectors(256, 512)
    tracemalloc.start()
    index = FlatIndex(512, neighbors.arithmetic("cpu", "float32"))
    for i in range(80):
        index.add(rows, names(256))
        if i == 20:
            before = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert index.count == 80 * 256
    assert grown < 0.03 * 59 * rows.nbytes  # the ids
    assert index.nearest(rows[:3], 0.9).position.tolist() == [0, 1, 2]


def test_cosines_are_of_the_same_rows() -> None:
    one, other = vectors(7, 300), vectors(7, 300, seed=1)
    assert neighbors.cosines(one, other) == pytest.approx((one.astype(float) * other).sum(axis=1), abs=1e-12)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_answer() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    rows, asked = vectors(20_000, 256), vectors(500, 256, seed=1)
    asked[:100] = rows[:100]
    exact = flat_index(rows).nearest(asked, 0.9)
    for precision in ("float32", "bfloat16", "float16"):
        on_gpu = FlatIndex(256, neighbors.arithmetic("cuda:0", precision))
        on_gpu.add(rows, names(20_000, 6))
        nearest = on_gpu.nearest(asked, 0.9)
        assert np.array_equal(nearest.position[:100], exact.position[:100])
        assert np.allclose(nearest.cosine, exact.cosine, atol=neighbors.MAX_ERROR.get(precision, 1e-5))
