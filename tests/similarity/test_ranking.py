"""Clips in the order in which they are kept."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from udfs.similarity import ranking

CLIPS = pa.RecordBatch.from_pydict(
    {
        "clip_id": ["d", "a", "c", "b"],
        "duration_s": [5.0, 9.0, None, 9.0],
        "num_bytes": [10, 20, 30, 40],
        "aesthetic": [4.5, None, 5.5, 5.5],
    }
)
DISTANCE = np.array([0.1, 0.3, 0.2, 0.3])


def ranked(clips: pa.RecordBatch, rank: str, seed: int = 42) -> str:
    """The ids in the order of their keys, and then of the ids."""
    names = clips.column("clip_id").to_pylist()
    order = ranking.keys(clips, rank, seed, DISTANCE[: len(names)]).tolist()
    return "".join(name for _, name in sorted(zip(order, names, strict=True)))


@pytest.mark.parametrize(
    ("rank", "order"),
    [
        ("hard", "abcd"),
        ("easy", "dcab"),
        ("num_bytes", "dacb"),
        ("num_bytes asc", "dacb"),
        ("num_bytes desc", "bcad"),
        ("duration_s desc", "abdc"),  # NULL last
        ("duration_s", "dabc"),
        ("duration_s desc, num_bytes desc", "badc"),
        ("  duration_s  asc ,num_bytes", "dabc"),
        ("aesthetic desc, duration_s desc", "bcda"),
    ],
)
def test_clips_are_ranked_by_rule_or_columns(rank: str, order: str) -> None:
    assert ranked(CLIPS, rank) == order


def test_random_depends_on_the_seed_alone() -> None:
    ids = [f"{i:02d}" for i in range(40)]
    clips = pa.RecordBatch.from_pydict({"clip_id": ids})
    first, again = (ranking.keys(clips, "random", 42, np.zeros(40)) for _ in range(2))
    assert np.array_equal(first, again)
    assert len(np.unique(first)) == 40
    backwards = ranking.keys(clips.take(pa.array(range(39, -1, -1))), "random", 42, np.zeros(40))
    assert np.array_equal(backwards[::-1], first)
    orders = [ranking.keys(clips, "random", seed, np.zeros(40)).argsort(axis=0)[:, 0].tolist() for seed in range(5)]
    assert len({tuple(order) for order in orders}) == 5


def test_a_clip_in_no_cluster_ranks_last() -> None:
    for rule in ("hard", "easy"):
        assert ranking.keys(CLIPS, rule, 0, np.array([0.1, np.inf, 0.2, 0.3])).argmax() == 1


@pytest.mark.parametrize(
    "rank",
    ["", "medium", "hard, easy", "uri", "duration_s down", "duration_s desc,", "num_bytes asc desc"],
)
def test_an_unknown_ranking_is_refused(rank: str) -> None:
    with pytest.raises(ValueError, match="is not a ranking: use hard, easy, random, or one of num_bytes"):
        ranking.columns(rank)


def test_the_columns_that_a_ranking_sorts_by() -> None:
    assert ranking.columns("duration_s desc, num_bytes") == {"duration_s": False, "num_bytes": True}
    assert ranking.columns("hard") == {}
