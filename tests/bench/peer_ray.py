"""Program of Ray's environment: score videos with Ray Data's `map`, as its documentation writes it."""

from __future__ import annotations

import os
from typing import Any

import ray

from tests.bench import luma
from tests.bench.serve import serve


def mean_change(row: dict[str, Any]) -> dict[str, Any]:
    """The row of one video with its score."""
    return {"path": row["path"], "score": luma.mean_change(row["path"])}


def score(paths: list[str]) -> list[float]:
    """The scores of videos, in their order."""
    if not ray.is_initialized():
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    videos = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=len(paths))
    scores = {row["path"]: row["score"] for row in videos.map(mean_change).take_all()}
    return [scores[path] for path in paths]


if __name__ == "__main__":
    ray.data.DataContext.get_current().enable_progress_bars = False
    serve({"score": score})
