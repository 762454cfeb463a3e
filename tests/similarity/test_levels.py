"""Which elder each vector is linked to, against the definition written out in loops."""

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
from udfs.similarity.levels import Ladder, Near
from udfs.similarity.neighbors import Vectors

LEVELS = (0.01, 0.03, 0.1)
CPU = neighbors.arithmetic("cpu", "float32")
# Few numbers, so that equal vectors, opposite ones, zeros and ties are common.
LATTICE = arrays.arrays(np.int8, st.tuples(st.integers(1, 24), st.integers(1, 4)), elements=st.integers(-2, 2))
SOME_LEVELS = st.lists(st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 1.5]), min_size=1, max_size=4, unique=True).map(sorted)


def names(count: int) -> neighbors.Ids:
    return np.array([f"{i:04d}" for i in range(count)], np.bytes_)


def climbed(rows: Vectors, steps: Sequence[float], block: int = 1024, home: npt.NDArray[np.bool_] | None = None) -> levels.Links:
    """All rows in blocks of a size."""
    here = np.ones(len(rows), bool) if home is None else home
    whole = Ladder(steps, rows.shape[1], CPU)
    found = [
        whole.climb(rows[i : i + block], names(len(rows))[i : i + block], here[i : i + block]) for i in range(0, len(rows), block)
    ]
    return levels.Links(*(np.concatenate([getattr(links, name) for links in found]) for name in levels.Links._fields))


def by_hand(rows: Vectors, steps: Sequence[float], home: npt.NDArray[np.bool_] | None = None) -> tuple[list[int], list[float]]:
    """The level at which each row falls and its similarity, in double precision and one by one."""
    cosines = rows.astype(float) @ rows.astype(float).T
    here = [True] * len(rows) if home is None else home.tolist()
    fall, similarity = list[int](), list[float]()
    for i in range(len(rows)):
        for level in range(len(steps) + 1):
            stands = [j for j in range(i) if here[j] and fall[j] > min(level, len(steps) - 1)]
            nearest = max((cosines[i, j] for j in stands), default=np.nan)
            if level == len(steps) or nearest >= 1 - steps[level] - ROUNDING:
                fall.append(level)
                similarity.append(nearest)
                break
    return fall, similarity


@settings(max_examples=1500, deadline=None)
@given(LATTICE, SOME_LEVELS, st.integers(1, 9), st.integers(1, 7))
def test_links_are_those_of_the_definition(vectors: npt.NDArray[np.int8], steps: list[float], block: int, tile: int) -> None:
    rows = kmeans.unit_vectors(vectors).astype(np.float32)
    rows = rows[rows.any(axis=1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TILE", tile)
        found = climbed(rows, steps, block) if len(rows) else None
    fall, similarity = by_hand(rows, steps)
    if found is None:
        return
    assert found.fall.tolist() == fall
    assert np.allclose(found.similarity, similarity, atol=1e-6, equal_nan=True)
    check_targets(rows, found, steps)


def check_targets(rows: Vectors, found: levels.Links, steps: Sequence[float]) -> None:
    """Each link names an elder that stands at the level at which the row falls, and its similarity is the cosine to it."""
    for i, (level, to, similarity) in enumerate(
        zip(found.fall.tolist(), found.to.tolist(), found.similarity.tolist(), strict=True)
    ):
        if to is None:
            assert np.isnan(similarity)
            continue
        j = int(to)
        assert j < i
        assert found.fall[j] > min(level, len(steps) - 1)
        assert similarity == pytest.approx(float(rows[i].astype(float) @ rows[j].astype(float)), abs=1e-9)


def clouds(seed: int, num_rows: int, dim: int = 16) -> Vectors:
    """Rows around a few directions, near and far, so that every level has some."""
    random = np.random.default_rng(seed)
    spread = random.choice([0.02, 0.05, 0.12, 0.3], num_rows)[:, None]
    rows = random.normal(size=(8, dim))[random.integers(0, 8, num_rows)] + random.normal(size=(num_rows, dim)) * spread
    return kmeans.unit_vectors(rows).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(1, 60), st.integers(3, 60))
def test_clouds_too_and_the_size_of_blocks_and_tiles_changes_nothing(seed: int, num_rows: int, block: int, tile: int) -> None:
    rows = clouds(seed, num_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "TILE", tile)
        found = climbed(rows, LEVELS, block)
    whole = climbed(rows, LEVELS)
    fall, similarity = by_hand(rows, LEVELS)
    assert found.fall.tolist() == whole.fall.tolist() == fall
    assert np.allclose(found.similarity, similarity, atol=1e-6, equal_nan=True)
    check_targets(rows, found, LEVELS)


def survivor(found: levels.Links, row: int, eps: float) -> int:
    """Who stands for a row at an eps: the end of its links."""
    while found.similarity[row] >= 1 - eps - ROUNDING:
        row = int(found.to[row])
    return row


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0001, 0.1))
def test_one_similarity_answers_for_every_eps(seed: int, eps: float) -> None:
    rows = clouds(seed, 120)
    found = climbed(rows, LEVELS)
    kept = [i for i in range(len(rows)) if survivor(found, i, eps) == i]
    assert {survivor(found, i, eps) for i in range(len(rows))} == set(kept)  # survivors survive
    assert all(survivor(found, i, eps / 2) == i for i in kept)  # a smaller eps keeps more


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_at_a_level_no_two_that_stand_are_alike(seed: int) -> None:
    rows = clouds(seed, 120)
    found = climbed(rows, LEVELS)
    for level, eps in enumerate(LEVELS):
        stand = rows[found.fall > level].astype(float)
        assert np.all(np.tril(stand @ stand.T, k=-1) < 1 - eps - ROUNDING + 1e-12)
        assert np.array_equal(found.fall > level, ~(found.similarity >= 1 - eps - ROUNDING))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_stands_for_a_row_is_at_most_a_step_a_level_away(seed: int) -> None:
    rows = clouds(seed, 120).astype(float)
    found = climbed(rows.astype(np.float32), LEVELS)
    farthest = sum(np.arccos(1 - eps - ROUNDING) for eps in LEVELS)
    for i in range(len(rows)):
        cosine = rows[i] @ rows[survivor(found, i, LEVELS[-1])]
        assert np.arccos(min(1.0, cosine)) <= farthest + 1e-6


def at_angle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_none_falls_because_of_one_that_has_fallen() -> None:
    rows = np.array([at_angle(a) for a in (0, 20, 40)], np.float32)  # neighbours have a cosine of 0.94, the ends of 0.77
    found = climbed(rows, [0.1])
    assert found.fall.tolist() == [1, 0, 1]
    assert found.to.tolist() == [None, b"0000", b"0000"]
    assert found.similarity[2] == pytest.approx(np.cos(np.radians(40)))


def test_a_tight_copy_goes_with_its_original() -> None:
    rows = np.array([at_angle(a) for a in (0, 24, 24.5)], np.float32)
    found = climbed(rows, LEVELS)
    assert found.fall.tolist() == [3, 2, 0]
    assert found.to.tolist()[2] == b"0001"
    assert survivor(found, 2, 0.1) == 0
    assert survivor(found, 2, 0.05) == 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_visitors_look_and_stand_for_nobody(seed: int, block: int) -> None:
    rows = clouds(seed, 90)
    home = np.random.default_rng(seed).random(90) < 0.6
    found = climbed(rows, LEVELS, block, home)
    fall, similarity = by_hand(rows, LEVELS, home)
    assert found.fall.tolist() == fall
    assert np.allclose(found.similarity, similarity, atol=1e-6, equal_nan=True)
    assert all(home[int(to)] for to in found.to if to is not None)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 79))
def test_elders_known_from_elsewhere_count_like_those_here(seed: int, cut: int) -> None:
    rows = clouds(seed, 80)
    whole = climbed(rows, LEVELS)
    old, new = rows[:cut], rows[cut:]
    fall, cosines = levels.fall_of(whole.similarity[:cut], LEVELS), new.astype(float) @ old.T.astype(float)
    near = [np.where(fall == level, cosines, -np.inf) for level in (1, 2, 3)]
    to = np.stack([names(80)[one.argmax(axis=1)].astype(object) for one in near], axis=1)
    before = Near(np.stack([one.max(axis=1) for one in near], axis=1), to)
    found = Ladder(LEVELS, 16, CPU).climb(new, names(80)[cut:], before=before)
    assert found.fall.tolist() == whole.fall[cut:].tolist()
    assert np.allclose(found.similarity, whole.similarity[cut:], atol=1e-6, equal_nan=True)


def test_the_nearer_of_two_is_taken_shelf_by_shelf() -> None:
    one = Near(np.array([[0.5, -np.inf]]), np.array([["a", None]], object))
    other = Near(np.array([[0.4, 0.2]]), np.array([["b", "c"]], object))
    found = levels.nearer(one, other)
    assert found.cosine.tolist() == [[0.5, 0.2]]
    assert found.to.tolist() == [["a", "c"]]


def test_the_level_of_a_similarity() -> None:
    similarity: Floats = np.array([1.0, 0.99, 0.98, 0.97, 0.95, 0.9, 0.89, np.nan])
    assert levels.fall_of(similarity, LEVELS).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
