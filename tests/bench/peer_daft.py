"""Program of Daft's environment: score videos by a function of a column, as its documentation writes it."""

from __future__ import annotations

import daft

from tests.bench import luma
from tests.bench.serve import serve


@daft.func  # type: ignore[untyped-decorator]  # the package is not here
def mean_change(path: str) -> float:
    """The score of one video."""
    return luma.mean_change(path)


def score(paths: list[str]) -> list[float]:
    """The scores of videos, in their order; one partition per video, so that the cores share them."""
    videos = daft.from_pydict({"path": paths}).into_partitions(len(paths))
    rows = videos.with_column("score", mean_change(daft.col("path"))).to_pydict()
    scores = dict(zip(rows["path"], rows["score"], strict=True))
    return [scores[path] for path in paths]


if __name__ == "__main__":
    serve({"score": score})
