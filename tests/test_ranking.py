"""In which order the clips of a cluster are kept."""

from __future__ import annotations

import pandas as pd
import pytest

from udfs import ranking

CLIPS = pd.DataFrame(
    {
        "clip_id": ["d", "a", "c", "b"],
        "distance_to_centroid": [0.1, 0.3, 0.2, 0.3],
        "duration_s": [5.0, 9.0, None, 9.0],
        "num_bytes": [10, 20, 30, 40],
    }
)


def ranked(clips: pd.DataFrame, rank: str, seed: int = 42) -> str:
    return "".join(clips["clip_id"].iloc[ranking.order(clips, rank, seed)])


@pytest.mark.parametrize(
    ("rank", "order"),
    [
        ("hard", "abcd"),
        ("easy", "dcab"),
        ("num_bytes", "dacb"),
        ("num_bytes asc", "dacb"),
        ("num_bytes desc", "bcad"),
        ("duration_s desc", "abdc"),  # NULL last
        ("duration_s desc, num_bytes desc", "badc"),
        ("  duration_s  asc ,num_bytes", "dabc"),
    ],
)
def test_the_order_of_a_rule(rank: str, order: str) -> None:
    assert ranked(CLIPS, rank) == order
    assert ranked(CLIPS.iloc[::-1], rank) == order  # and not of the rows


def test_random_depends_on_the_seed_but_not_on_the_order_of_rows() -> None:
    clips = pd.DataFrame({"clip_id": [f"{i:02d}" for i in range(40)]})
    assert ranked(clips, "random") == ranked(clips.sample(frac=1, random_state=1), "random")
    assert len({ranked(clips, "random", seed) for seed in range(5)}) == 5


@pytest.mark.parametrize("rank", ["", "medium", "hard, easy", "uri", "duration_s down", "duration_s desc,", "num_bytes asc desc"])
def test_a_ranking_that_is_not_known_is_refused(rank: str) -> None:
    with pytest.raises(ValueError, match="is no ranking: use hard, easy, random, or one of num_bytes"):
        ranking.columns(rank)


def test_the_columns_a_ranking_needs() -> None:
    assert ranking.columns("duration_s desc, num_bytes") == {"duration_s": False, "num_bytes": True}
    assert ranking.columns("hard") == {}
