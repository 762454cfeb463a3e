"""The settings of [dedup] and the number of clusters that they ask for."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from udfs.similarity.params import Params, num_clusters


@pytest.mark.parametrize(
    ("num_rows", "asked", "clusters"),
    [(0, 0, 0), (1, 0, 1), (4000, 0, 1), (4001, 0, 2), (1_000_000, 0, 250), (3, 10, 3), (0, 10, 0), (100, 10, 10)],
)
def test_the_number_of_clusters_is_as_set_or_by_size(num_rows: int, asked: int, clusters: int) -> None:
    assert num_clusters(num_rows, Params(n_clusters=asked)) == clusters


@pytest.mark.parametrize(
    "bad",
    [
        {"levels": []},
        {"levels": [0.0]},
        {"levels": [0.1, 0.03]},
        {"levels": [0.1, 0.1]},
        {"levels": [2.5]},
        {"rank": "best"},
        {"rank": "uri desc"},
        {"n_cluster": 5},
        {"max_iter": 0},
        {"probe_clusters": 0},
        {"precision": "float8"},
        {"engine": "faiss"},
        {"refit_growth": 1.0},
    ],
)
def test_settings_out_of_bounds_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Params).validate_python(bad)
