"""search: find the clips most like a text or a clip, by the vectors of embeddings"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import OutputOptions, argument, flag, positive
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.lake import answers, formats, places
from jobs.lake.run import Run
from jobs.queries import nearest
from jobs.queries.nearest import Vector
from udfs.similarity import topk


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `search` takes."""

    READS_ONLY: ClassVar[bool] = True

    text: str | None = argument("what the clips show, in words", default=None, metavar="TEXT")
    clip: str | None = argument("a clip_id: find clips like this one", default=None, metavar="ID")
    top: int = argument("most clips to show", default=20, type=positive, metavar="N")
    all: bool = flag("search all clips, not only those that were kept")
    json: bool = flag("print a line of JSON per clip")


def check(options: Options, settings: Settings) -> None:
    """Refuse an output without tables, an empty text, and a text that no model of the vectors can encode."""
    if (options.text is None) == (options.clip is None):
        raise UsageError("search: give --text or --clip, one of both")
    places.check_tables(options.output, options.schema, settings.sources)
    if options.text is not None:
        nearest.check_text(options.text, options.output, settings)


def run(run: Run, options: Options) -> None:
    """Print the clips nearest to a text or a clip, by the vectors of the last run's settings."""
    run = replace(run, recorded=answers.recorded(run))
    vectors = run.current("embeddings").select("clip_id", "model", "vector")
    model, query = (
        _clip_vector(run, vectors, options.clip) if options.clip else _text_vector(run, vectors, str(options.text))
    )
    # Vectors of two models are not comparable.
    others = _candidates(run, options).join(vectors.where(F.col("model") == model), on="clip_id", how="inner")
    answer = _described(run, _nearest(run, others, query, options.top))
    if options.json:
        for row in answer.collect():
            print(formats.json_text(row.asDict(recursive=True)))
    else:
        print(answers.text(answer))


def _candidates(run: Run, options: Options) -> DataFrame:
    """The clips that are searched: those that were kept, or all."""
    clips = run.tables.read("clips" if options.all else "verdicts").where("true" if options.all else "kept")
    if clips.isEmpty():
        raise UsageError(
            f"--output {run.output}: " + ("no clips here" if options.all else "no clip is kept; --all searches all")
        )
    return clips.select("clip_id").distinct().where(F.col("clip_id") != (options.clip or ""))


def _text_vector(run: Run, vectors: DataFrame, text: str) -> tuple[str, Vector]:
    """The model of the clips' vectors, and its vector of the text."""
    first = vectors.first()
    if first is None:
        raise UsageError(f"--output {run.output}: {nearest.NO_VECTORS}")
    return first["model"], nearest.text_vector(text, first["model"], len(first["vector"]), run.settings)


def _clip_vector(run: Run, vectors: DataFrame, clip_id: str) -> tuple[str, Vector]:
    row = vectors.where(F.col("clip_id") == clip_id).first()
    if row is None:
        exists = not run.tables.read("clips").where(F.col("clip_id") == clip_id).isEmpty()
        why = "has no vector by the last run's settings" if exists else "is not here"
        raise UsageError(f"--clip {clip_id}: {why}")
    vector = np.array(row["vector"], np.float32)
    if not vector.any():
        raise UsageError(f"--clip {clip_id}: its vector is zero: the clip shows one gray, which nothing resembles")
    return row["model"], vector


def _nearest(run: Run, vectors: DataFrame, query: Vector, top: int) -> DataFrame:
    """clip_id and similarity of the nearest clips, collected so that they are computed once."""
    best = vectors.select("clip_id", "vector").mapInArrow(partial(topk.nearest, vector=query, top=top), topk.COLUMNS)
    rows = best.orderBy(F.desc("similarity"), "clip_id").limit(top).collect()
    return run.spark.createDataFrame(rows, topk.COLUMNS)


def _described(run: Run, hits: DataFrame) -> DataFrame:
    """The clips with their video, times, caption and preview, nearest first."""
    spans = run.current("spans").select("clip_id", "video_id", "start_s", "end_s")
    videos = run.tables.read("videos").select("video_id", F.col("uri").alias("video_uri"))
    signals = run.current("signals").select("clip_id", F.get("previews", F.lit(0))["uri"].alias("preview"))
    captions = run.current("captions").groupBy("clip_id").agg(F.min_by("caption", "start_frame").alias("caption"))
    described = hits.join(spans, on="clip_id", how="inner").join(videos, on="video_id", how="inner")
    for optional in (captions, signals):
        described = described.join(optional, on="clip_id", how="left")
    columns = ("similarity", "clip_id", "video_uri", "start_s", "end_s", "caption", "preview")
    return described.select(*columns).orderBy(F.desc("similarity"), "clip_id")


if __name__ == "__main__":
    from jobs.cli import script

    script("search")
