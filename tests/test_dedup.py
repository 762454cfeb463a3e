"""Which of a cluster's vectors stand for which."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter, ValidationError

from udfs import dedup
from udfs.kmeans import Floats, Indexes

# Small whole numbers make equal, opposite and zero vectors likely, and two unequal cosines differ by more than 1e-5.
LATTICE = arrays.arrays(np.int8, st.tuples(st.integers(1, 14), st.just(3)), elements=st.integers(-2, 2))
EPS = st.sampled_from([0.0, 0.013, 0.1234, 0.5678, 1.0123, 2.0])


def by_hand(vectors: Floats, order: Indexes, eps: float) -> list[tuple[int, float | None]]:
    """The definition, written out: for each row who stands for it, and the cosine to its nearest kept elder."""
    kept, found = list[int](), dict[int, tuple[int, float | None]]()
    for i in map(int, order):
        cosines = [round(cosine(vectors[i], vectors[j]), 5) for j in kept] if vectors[i].any() else []
        best = max(cosines, default=None)
        duplicate = best is not None and best >= 1 - eps - 1e-5
        found[i] = (kept[cosines.index(best)] if duplicate and best is not None else -1, best)
        if not duplicate and vectors[i].any():
            kept.append(i)
    return [found[i] for i in range(len(vectors))]


def cosine(a: Floats, b: Floats) -> float:
    return float(sum(a * b)) / math.sqrt(float(sum(a * a)) * float(sum(b * b)))


def survivors(vectors: object, eps: float = 0.1, order: list[int] | None = None) -> tuple[list[int], list[float | None]]:
    rows = np.array(vectors, float)
    stands_for, similarity = dedup.survivors(rows, np.array(order or range(len(rows))), eps)
    return stands_for.tolist(), [None if math.isnan(s) else round(s, 5) for s in similarity]


def test_the_first_of_equal_vectors_stands_for_the_others() -> None:
    assert survivors([[1, 0], [2, 0], [0, 1], [5, 0]], eps=0.0) == ([-1, 0, -1, 0], [None, 1.0, 0.0, 1.0])


def test_the_order_decides_who_is_first() -> None:
    assert survivors([[1, 0], [2, 0], [5, 0]], order=[2, 0, 1])[0] == [2, 2, -1]


def test_the_nearest_kept_vector_stands_not_the_first() -> None:
    assert survivors([[1, 0], [0.85, 0.53], [0.97, 0.243]], eps=0.1)[0] == [-1, -1, 0]
    assert survivors([[1, 0], [0.85, 0.53], [0.92, 0.39]], eps=0.1)[0] == [-1, -1, 1]


def test_a_duplicate_of_a_duplicate_is_kept() -> None:
    degrees = np.radians([0, 20, 40])  # neighbours have a cosine of 0.94, the ends one of 0.77
    assert survivors(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))[0] == [-1, 0, -1]


def test_zeros_are_kept_and_stand_for_none() -> None:
    assert survivors([[0, 0], [0, 0], [1, 0], [-1, 0]]) == ([-1, -1, -1, -1], [None, None, None, -1.0])
    assert survivors([[0, 0]], eps=2.0) == ([-1], [None])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        survivors([[1, 0], [bad, 0]])


@settings(max_examples=600, deadline=None)
@given(LATTICE, EPS, st.randoms(use_true_random=False), st.integers(1, 16))
def test_survivors_are_those_of_the_definition(vectors: Floats, eps: float, random: np.random.Generator, tile_rows: int) -> None:
    order = np.array(random.sample(range(len(vectors)), len(vectors)))  # type: ignore[attr-defined]
    stands_for, similarity = dedup.survivors(vectors, order, eps, tile_rows)
    wanted = by_hand(vectors.astype(float), order, eps)
    assert stands_for.tolist() == [who for who, _ in wanted]
    assert np.allclose(similarity, [np.nan if s is None else s for _, s in wanted], atol=2e-5, equal_nan=True)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.sampled_from([0.02, 0.1, 0.4]))
def test_every_duplicate_has_a_kept_one_and_no_two_kept_are_alike(seed: int, num_rows: int, eps: float) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(8, 16))[random.integers(0, 8, num_rows)] + random.normal(size=(num_rows, 16)) * 0.3
    stands_for, similarity = dedup.survivors(rows, random.permutation(num_rows), eps, tile_rows=32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kept, gone = np.flatnonzero(stands_for < 0), np.flatnonzero(stands_for >= 0)
    assert set(stands_for[gone]) <= set(kept)
    assert np.all(np.triu(unit[kept] @ unit[kept].T, k=1) < 1 - eps)
    assert np.allclose(similarity[gone], (unit[gone] * unit[stands_for[gone]]).sum(axis=1), atol=1e-6)
    assert np.all(similarity[gone] >= 1 - eps - 2e-6)


def cluster(num_rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(6, 8))[random.integers(0, 6, num_rows)] + random.normal(size=(num_rows, 8)) * 0.2
    return pd.DataFrame(
        {
            "clip_id": [f"clip-{i:04d}" for i in range(num_rows)],
            "vector": list(vectors.astype(np.float32)),
            "cluster_id": 3,
            "distance_to_centroid": random.integers(0, 5, num_rows) / 10,
            "duration_s": random.integers(0, 3, num_rows).astype(float),
            "model": "x",
        }
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["hard", "easy", "random", "duration_s desc"]), st.integers(1, 70))
def test_rows_are_the_same_for_any_order_and_tile_size(seed: int, rank: str, tile_rows: int) -> None:
    clips = cluster(60, seed)
    found = dedup.cluster_rows(clips, dedup.Params(rank=rank))
    shuffled = dedup.cluster_rows(clips.sample(frac=1, random_state=seed % 1000), dedup.Params(rank=rank, tile_rows=tile_rows))
    pd.testing.assert_frame_equal(found, shuffled.sort_values("clip_id", ignore_index=True), check_exact=True)


def test_cluster_rows_gives_the_columns_of_duplicates() -> None:
    clips = pd.DataFrame(
        {
            "clip_id": ["a", "b", "c"],
            "vector": [[1.0, 0], [1.0, 0.1], [0, 1.0]],
            "cluster_id": 7,
            "distance_to_centroid": [0.1, 0.2, 0.3],
        }
    )
    found = dedup.cluster_rows(clips, dedup.Params())
    assert list(found) == ["clip_id", "cluster_id", "distance_to_centroid", "duplicate_of", "similarity", "method"]
    assert found["duplicate_of"].tolist() == ["b", None, None]  # hard: c is farthest and comes first, then b
    assert found["similarity"].round(4).tolist()[:2] == [0.995, 0.0995]
    assert found["similarity"].isna().tolist() == [False, False, True]
    assert set(found["method"]) == {"semantic"}


@pytest.mark.parametrize(
    ("num_rows", "asked", "clusters"),
    [(0, 0, 0), (1, 0, 1), (4000, 0, 1), (4001, 0, 2), (1_000_000, 0, 250), (3, 10, 3), (0, 10, 0), (100, 10, 10)],
)
def test_the_number_of_clusters(num_rows: int, asked: int, clusters: int) -> None:
    assert dedup.n_clusters(num_rows, dedup.Params(n_clusters=asked)) == clusters


def test_memory_grows_with_the_tile_not_with_the_square_of_the_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(6000, 16)).astype(np.float32)
    tracemalloc.start()
    dedup.survivors(rows, np.arange(6000), 0.001, tile_rows=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # all cosines at once would take 288e6


@pytest.mark.parametrize("bad", [{"eps": -0.1}, {"rank": "best"}, {"rank": "uri desc"}, {"n_cluster": 5}, {"max_iter": 0}])
def test_settings_out_of_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(dedup.Params).validate_python(bad)
