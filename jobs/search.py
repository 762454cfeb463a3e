"""search: embeddings and what is known of their clips -> the clips most like a text or a clip"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, sql
from jobs.config.settings import Settings
from jobs.lake.run import Run
from udfs.core.gpu_device import Task, device
from udfs.models import text_match
from udfs.models.registry import MissingModelError
from udfs.similarity import topk

Vector = npt.NDArray[np.float32]


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Refuse an output that holds no tables, and a text that says nothing."""
    sql.check(options, settings)
    if options.text is not None and not options.text.strip():
        raise cli.UsageError("--text: says nothing")


def run(run: Run, options: argparse.Namespace) -> None:
    """Print the clips whose vectors, as the last run's settings left them, are nearest to that of a text or a clip."""
    run = replace(run, recorded=sql.recorded(run))
    vectors = run.current("embeddings").select("clip_id", "model", "vector")
    model, like = _of_clip(run, vectors, options.clip) if options.clip else _of_text(run, vectors, options.text)
    # Vectors of two models have nothing to do with each other.
    others = _searched(run, options).join(vectors.where(F.col("model") == model), on="clip_id", how="inner")
    answer = _told(run, _nearest(run, others, like, options.top))
    if options.json:
        for row in answer.collect():
            print(json.dumps(row.asDict(), ensure_ascii=False))
    else:
        print(sql.text(answer))


def _searched(run: Run, options: argparse.Namespace) -> DataFrame:
    """The clips to choose from."""
    clips = run.tables.read("clips" if options.all else "verdicts").where("true" if options.all else "kept")
    if clips.isEmpty():
        raise cli.UsageError(
            f"--output {run.output}: " + ("no clips here" if options.all else "no clip is kept; --all searches all")
        )
    return clips.select("clip_id").distinct().where(F.col("clip_id") != (options.clip or ""))


def _of_text(run: Run, vectors: DataFrame, text: str) -> tuple[str, Vector]:
    """The model that made the clips' vectors, and what it makes of the text."""
    some = vectors.first()
    if some is None:
        raise cli.UsageError(f"--output {run.output}: no embeddings of the last run's settings here")
    settings = run.settings
    try:
        on = device(Task(), 0, settings.models.device)
        found = text_match.text_vector(text, some["model"], replace(settings.embed, num_frames=None), settings.models, on)
    except MissingModelError as e:
        raise cli.UsageError(f"--text: the vectors here are of {some['model']}: {e}") from e
    if len(found) != len(some["vector"]):
        raise cli.UsageError(f"--text: {some['model']} gives {len(found)} numbers, the vectors here have {len(some['vector'])}")
    return some["model"], found


def _of_clip(run: Run, vectors: DataFrame, clip_id: str) -> tuple[str, Vector]:
    found = vectors.where(F.col("clip_id") == clip_id).first()
    if found is None:
        there = not run.tables.read("clips").where(F.col("clip_id") == clip_id).isEmpty()
        why = "has no vector by the last run's settings" if there else "is not here"
        raise cli.UsageError(f"--clip {clip_id}: {why}")
    vector = np.array(found["vector"], np.float32)
    if not vector.any():
        raise cli.UsageError(f"--clip {clip_id}: shows nothing that others could be like")
    return found["model"], vector


def _nearest(run: Run, vectors: DataFrame, like: Vector, top: int) -> DataFrame:
    """clip_id and similarity of the nearest clips, as a frame of known rows."""
    best = vectors.select("clip_id", "vector").mapInArrow(partial(topk.nearest, vector=like, top=top), topk.COLUMNS)
    rows = best.orderBy(F.desc("similarity"), "clip_id").limit(top).collect()
    return run.spark.createDataFrame(rows, topk.COLUMNS)


def _told(run: Run, hits: DataFrame) -> DataFrame:
    """What a reader needs to find the clips, nearest first."""
    spans = run.current("spans").select("clip_id", "video_id", "start_s", "end_s")
    videos = run.tables.read("videos").select("video_id", F.col("uri").alias("video_uri"))
    signals = run.current("signals").select("clip_id", F.get("previews", F.lit(0))["uri"].alias("preview"))
    captions = run.current("captions").groupBy("clip_id").agg(F.min_by("caption", "start_frame").alias("caption"))
    found = hits.join(spans, on="clip_id", how="inner").join(videos, on="video_id", how="inner")
    for more in (captions, signals):
        found = found.join(more, on="clip_id", how="left")
    columns = ("similarity", "clip_id", "video_uri", "start_s", "end_s", "caption", "preview")
    return found.select(*columns).orderBy(F.desc("similarity"), "clip_id")


if __name__ == "__main__":
    cli.script("search")
