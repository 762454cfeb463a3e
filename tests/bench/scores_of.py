"""The score of tests/bench/luma.py as functions of Spark's batches: as stages are written, and over rows of PNG frames.

What a worker imports is here and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import av
import cv2
import numpy as np
import pandas as pd

from tests.bench import luma
from udfs.core.limits import Limits
from udfs.runtime import batching
from udfs.runtime.context import Row
from udfs.video import container, decode

SCORES = ["uri", "score"]


def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of videos -> batches of scores."""
    return batching.each(batches, of_video, key="uri", columns=SCORES, limits=Limits())


def of_video(row: Row) -> list[Row]:
    """The row of scores of one video, decoded as stages do."""
    changes, previous = list[float](), None
    with container.open_video(row["uri"], Limits()) as video:
        for _, frame in decode.frames(video):
            current = luma.plane(frame)
            if previous is not None:
                changes.append(luma.change(previous, current))
            previous = current
    return [{"uri": row["uri"], "score": luma.mean(changes)}]


def pictures(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of videos -> a batch of PNG frames per video; of luma only, a third of what RGB would take."""
    for batch in batches:
        for path in batch["uri"]:
            with av.open(path) as source:
                source.streams.video[0].thread_count = 1
                encoded = [cv2.imencode(".png", luma.plane(frame))[1].tobytes() for frame in source.decode(video=0)]
            yield pd.DataFrame({"uri": path, "number": range(len(encoded)), "picture": encoded})


def of_pictures(frames: pd.DataFrame) -> pd.DataFrame:
    """The score of one video from its rows of PNG frames."""
    ordered = frames.sort_values("number")
    lumas = [_decoded(png) for png in ordered["picture"]]
    changes = [luma.change(a, b) for a, b in pairwise(lumas)]
    return pd.DataFrame({"uri": [ordered["uri"].iloc[0]], "score": [luma.mean(changes)]})


def _decoded(png: bytes) -> luma.Luma:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return np.asarray(picture, np.uint8)
