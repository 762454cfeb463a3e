"""The link of each vector, compared with its definition written as loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from udfs.similarity import kmeans, levels, neighbors
from udfs.similarity.kmeans import ROUNDING, Floats
from udfs.similarity.levels import LevelIndex, NearestByLevel
from udfs.similarity.neighbors import Vectors

LEVELS = (0.01, 0.03, 0.1)
CPU = neighbors.arithmetic("cpu", "float32")
# Few numbers, so that equal vectors, opposite ones, zeros and ties are common.
LATTICE = arrays.arrays(np.int8, st.tuples(st.integers(1, 24), st.integers(1, 4)), elements=st.integers(-2, 2))
EPS = st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 1.5])
SOME_THRESHOLDS = st.lists(EPS, min_size=1, max_size=4, unique=True).map(sorted)


def names(count: int) -> neighbors.Ids:
    return np.array([f"{i:04d}" for i in range(count)], np.bytes_)


def linked(
    rows: Vectors, thresholds: Sequence[float], block: int = 1024, home: npt.NDArray[np.bool_] | None = None
) -> levels.Links:
    """The links of all rows, in blocks of this size."""
    at_home = np.ones(len(rows), bool) if home is None else home
    index = LevelIndex(thresholds, rows.shape[1], CPU)
    blocks = [slice(i, i + block) for i in range(0, len(rows), block)]
    links = [index.link(rows[some], names(len(rows))[some], at_home[some]) for some in blocks]
    return levels.Links(*(np.concatenate([getattr(part, name) for part in links]) for name in levels.Links._fields))


def by_hand(
    rows: Vectors, thresholds: Sequence[float], home: npt.NDArray[np.bool_] | None = None
) -> tuple[list[int], list[float]]:
    """The duplicate level and similarity of each row, in double precision and one by one."""
    cosines = rows.astype(float) @ rows.astype(float).T
    at_home = [True] * len(rows) if home is None else home.tolist()
    duplicate_level, similarity = list[int](), list[float]()
    for i in range(len(rows)):
        for level in range(len(thresholds) + 1):
            loosest = min(level, len(thresholds) - 1)
            representatives = [j for j in range(i) if at_home[j] and duplicate_level[j] > loosest]
            nearest = max((cosines[i, j] for j in representatives), default=np.nan)
            if level == len(thresholds) or nearest >= 1 - thresholds[level] - ROUNDING:
                duplicate_level.append(level)
                similarity.append(nearest)
                break
    return duplicate_level, similarity


@settings(max_examples=1500, deadline=None)
@given(LATTICE, SOME_THRESHOLDS, st.integers(1, 9), st.integers(1, 7))
def test_links_agree_with_the_definition(
    vectors: npt.NDArray[np.int8],
    thresholds: list[float],
    block: int,
    tile: int,
) -> None:
    rows = kmeans.unit_vectors(vectors).astype(np.float32)
    rows = rows[rows.any(axis=1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TILE", tile)
        links = linked(rows, thresholds, block) if len(rows) else None
    duplicate_level, similarity = by_hand(rows, thresholds)
    if links is None:
        return
    assert links.duplicate_level.tolist() == duplicate_level
    assert np.allclose(links.similarity, similarity, atol=1e-6, equal_nan=True)
    check_targets(rows, links, thresholds)


def check_targets(rows: Vectors, links: levels.Links, thresholds: Sequence[float]) -> None:
    """Each link names an earlier representative of the row's duplicate level, with their cosine."""
    for i, (level, duplicate_of, similarity) in enumerate(zip(*(part.tolist() for part in links), strict=True)):
        if duplicate_of is None:
            assert np.isnan(similarity)
            continue
        j = int(duplicate_of)
        assert j < i
        assert links.duplicate_level[j] > min(level, len(thresholds) - 1)
        assert similarity == pytest.approx(float(rows[i].astype(float) @ rows[j].astype(float)), abs=1e-9)


def clouds(seed: int, num_rows: int, dim: int = 16) -> Vectors:
    """Rows around a few directions, near and far, so that every level has some."""
    random = np.random.default_rng(seed)
    spread = random.choice([0.02, 0.05, 0.12, 0.3], num_rows)[:, None]
    rows = random.normal(size=(8, dim))[random.integers(0, 8, num_rows)] + random.normal(size=(num_rows, dim)) * spread
    return kmeans.unit_vectors(rows).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(1, 60), st.integers(3, 60))
def test_the_size_of_blocks_and_tiles_changes_nothing(seed: int, num_rows: int, block: int, tile: int) -> None:
    rows = clouds(seed, num_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TILE", tile)
        links = linked(rows, LEVELS, block)
    whole = linked(rows, LEVELS)
    duplicate_level, similarity = by_hand(rows, LEVELS)
    assert links.duplicate_level.tolist() == whole.duplicate_level.tolist() == duplicate_level
    assert np.allclose(links.similarity, similarity, atol=1e-6, equal_nan=True)
    check_targets(rows, links, LEVELS)


def kept_for(links: levels.Links, row: int, eps: float) -> int:
    """The row that is kept for a row at an eps: the end of its links."""
    while links.similarity[row] >= 1 - eps - ROUNDING:
        row = int(links.duplicate_of[row])
    return row


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0001, 0.1))
def test_one_similarity_answers_for_every_eps(seed: int, eps: float) -> None:
    rows = clouds(seed, 120)
    links = linked(rows, LEVELS)
    kept = [i for i in range(len(rows)) if kept_for(links, i, eps) == i]
    assert {kept_for(links, i, eps) for i in range(len(rows))} == set(kept)  # what is kept for others is kept itself
    assert all(kept_for(links, i, eps / 2) == i for i in kept)  # a smaller eps keeps more


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_two_representatives_of_a_level_are_alike(seed: int) -> None:
    rows = clouds(seed, 120)
    links = linked(rows, LEVELS)
    for level, eps in enumerate(LEVELS):
        representatives = rows[links.duplicate_level > level].astype(float)
        assert np.all(np.tril(representatives @ representatives.T, k=-1) < 1 - eps - ROUNDING + 1e-12)
        assert np.array_equal(links.duplicate_level > level, ~(links.similarity >= 1 - eps - ROUNDING))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_row_and_the_one_kept_for_it_are_at_most_one_link_per_level_apart(seed: int) -> None:
    rows = clouds(seed, 120).astype(float)
    links = linked(rows.astype(np.float32), LEVELS)
    farthest = sum(np.arccos(1 - eps - ROUNDING) for eps in LEVELS)
    for i in range(len(rows)):
        cosine = rows[i] @ rows[kept_for(links, i, LEVELS[-1])]
        assert np.arccos(min(1.0, cosine)) <= farthest + 1e-6


def at_angle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_no_row_is_a_duplicate_because_of_a_duplicate() -> None:
    rows = np.array([at_angle(a) for a in (0, 20, 40)], np.float32)  # neighbors have a cosine of 0.94, the ends of 0.77
    links = linked(rows, [0.1])
    assert links.duplicate_level.tolist() == [1, 0, 1]
    assert links.duplicate_of.tolist() == [None, b"0000", b"0000"]
    assert links.similarity[2] == pytest.approx(np.cos(np.radians(40)))


def test_a_close_copy_follows_its_original() -> None:
    rows = np.array([at_angle(a) for a in (0, 24, 24.5)], np.float32)
    links = linked(rows, LEVELS)
    assert links.duplicate_level.tolist() == [3, 2, 0]
    assert links.duplicate_of.tolist()[2] == b"0001"
    assert kept_for(links, 2, 0.1) == 0
    assert kept_for(links, 2, 0.05) == 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_rows_that_only_probe_are_linked_and_represent_none(seed: int, block: int) -> None:
    rows = clouds(seed, 90)
    home = np.random.default_rng(seed).random(90) < 0.6
    links = linked(rows, LEVELS, block, home)
    duplicate_level, similarity = by_hand(rows, LEVELS, home)
    assert links.duplicate_level.tolist() == duplicate_level
    assert np.allclose(links.similarity, similarity, atol=1e-6, equal_nan=True)
    assert all(home[int(to)] for to in links.duplicate_of if to is not None)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 79))
def test_stored_representatives_count_like_those_of_the_index(seed: int, cut: int) -> None:
    rows = clouds(seed, 80)
    whole = linked(rows, LEVELS)
    old, new = rows[:cut], rows[cut:]
    level, cosines = levels.duplicate_levels_of(whole.similarity[:cut], LEVELS), new.astype(float) @ old.T.astype(float)
    by_level = [np.where(level == last_level + 1, cosines, -np.inf) for last_level in range(3)]
    ids = np.stack([names(80)[each.argmax(axis=1)].astype(object) for each in by_level], axis=1)
    stored = NearestByLevel(np.stack([each.max(axis=1) for each in by_level], axis=1), ids)
    links = LevelIndex(LEVELS, 16, CPU).link(new, names(80)[cut:], stored=stored)
    assert links.duplicate_level.tolist() == whole.duplicate_level[cut:].tolist()
    assert np.allclose(links.similarity, whole.similarity[cut:], atol=1e-6, equal_nan=True)


def test_the_nearer_of_two_is_taken_level_by_level() -> None:
    one = NearestByLevel(np.array([[0.5, -np.inf]]), np.array([["a", None]], object))
    other = NearestByLevel(np.array([[0.4, 0.2]]), np.array([["b", "c"]], object))
    nearest = levels.nearest_of_both(one, other)
    assert nearest.cosine.tolist() == [[0.5, 0.2]]
    assert nearest.duplicate_of.tolist() == [["a", "c"]]


def test_a_similarity_has_a_duplicate_level() -> None:
    similarity: Floats = np.array([1.0, 0.99, 0.98, 0.97, 0.95, 0.9, 0.89, np.nan])
    assert levels.duplicate_levels_of(similarity, LEVELS).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
