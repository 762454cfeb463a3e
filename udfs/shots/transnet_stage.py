"""split by TransNet V2: videos -> spans of the scenes that the network sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pandas as pd

from udfs import split
from udfs.demux import timeline
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import infer
from udfs.shots import transnet, transnet_frames
from udfs.shots.transnet import Answer, Window
from udfs.storage import access


def rows(batches: Iterable[pd.DataFrame], params: split.Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of videos -> batches of spans; the network's batches cross the borders of videos."""
    return infer(
        batches,
        prepare=partial(windows, env=env),
        load=partial(transnet.load),
        finish=partial(spans, params=params),
        key="video_id",
        columns=split.COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def windows(row: Row, call: Callable[..., Any], env: Env) -> Iterator[Window]:
    """What the network is shown of one video, as `call` decodes it.

    Raises:
        MediaError: the file is not there or changed, or what opening and decoding it raise.
    """
    path = access.unchanged_path(row["uri"], row["source_version"], env.sources)
    return transnet.windows(transnet_frames.every(path, env.limits, call, timeline.timing_of(row)))


def spans(row: Row, answers: list[Answer], params: split.Params) -> list[Row]:
    """The rows of spans of one video, by the answers to its windows.

    Raises:
        MediaError: TOO_SHORT if there is no span, BAD_OUTPUT for answers that are no probabilities.
    """
    scenes, end_s = transnet.scenes(answers, params.transnetv2_threshold, row["framerate"])
    return split.named(row, split.within(scenes, end_s, params), params)
