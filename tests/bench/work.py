"""The work of Reelmill that benchmarks time: its functions by themselves, in a pool of processes, and in Spark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, StringType, StructType

from jobs.config.settings import Settings
from jobs.flow.stage import envelope
from jobs.lake.fingerprints import fingerprint
from tests.bench import scores_of
from udfs import analyze, clip, ingest, split
from udfs.runtime.context import FAILURE, Env, Row

MOTION_ONLY = analyze.Params(quality=False, phash=False, proxy=False, preview=False)
FRAMES = "uri string, number bigint, picture binary"
Spans = list[tuple[float, float]]


def settings(clip_len_s: float, mode: str = "transcode", *, motion_only: bool) -> Settings:
    """The default settings with another length of clips."""
    defaults = Settings()
    return replace(
        defaults,
        split=split.Params(clip_len_s=clip_len_s),
        clip=clip.Params(mode="copy" if mode == "copy" else "transcode"),
        analyze=MOTION_ONLY if motion_only else defaults.analyze,
    )


def env(output: str, stage: str, chosen: Settings) -> Env:
    """What a stage's work needs for an output."""
    return Env(f"{output}/media", fingerprint(stage, chosen))


def spans(path: str, chosen: Settings) -> Spans:
    """The spans that a video is cut into, seconds."""
    video, cut = _spans(path, chosen, env("unused", "ingest", chosen))
    return [(span["start_s"], min(span["end_s"], video["duration_s"])) for span in cut]


def cut(path: str, output: str, chosen: Settings) -> list[Row]:
    """The rows of `clips` of a video, whose files are written; a failed span raises."""
    video, all_spans = _spans(path, chosen, env(output, "ingest", chosen))
    length_s = chosen.clip.max_unit_s
    units: dict[int, list[Row]] = {}
    for span in all_spans:
        units.setdefault(int(span["start_s"] // length_s), []).append(span)
    clip_env = env(output, "clip", chosen)
    rows = [row for unit in units.values() for row in clip.cut_unit(video | {"spans": unit}, chosen.clip, clip_env)]
    failed = [row for row in rows if row.get(FAILURE[0])]
    if failed:
        raise ValueError(f"{path}: {failed}")
    return rows


def cut_and_measure(path: str, output: str, chosen: Settings) -> list[Row]:
    """The rows of `signals` of a video's clips, cut and measured without Spark."""
    s = chosen
    params = analyze.Settings(s.analyze, s.motion, s.quality, s.phash, s.proxy, s.preview, s.windows)
    analyze_env = env(output, "analyze", chosen)
    return [row for made in cut(path, output, chosen) for row in analyze.measure_clip(made, params, analyze_env)]


def in_pool(paths: Sequence[str], output: str, chosen: Settings) -> int:
    """Cut and measure videos in a plain pool, one process per core, and write the rows; the number of clips."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        work = partial(cut_and_measure, output=output, chosen=chosen)
        rows = [row for part in pool.imap_unordered(work, paths, chunksize=1) for row in part]
    pd.DataFrame(rows).to_parquet(Path(output) / "signals.parquet")
    return len(rows)


def scores(spark: SparkSession, paths: Sequence[str]) -> list[float]:
    """The score of `luma` of each video, by a function of a row as a stage has it, with sandbox and failures."""
    schema = envelope(StructType().add("uri", StringType()).add("score", DoubleType()))
    rows = _videos(spark, paths).mapInPandas(scores_of.rows, schema).collect()
    assert not [row for row in rows if row[FAILURE[0]]], rows
    found = {row["uri"]: row["score"] for row in rows}
    return [found[path] for path in paths]


def scores_by_pictures(spark: SparkSession, paths: Sequence[str], folder: str) -> list[float]:
    """The same scores as Spark jobs over video are usually written: a row per frame as PNG, stored, then grouped."""
    _videos(spark, paths).mapInPandas(scores_of.pictures, FRAMES).write.parquet(folder)
    frames = spark.read.parquet(folder)
    rows = frames.groupBy("uri").applyInPandas(scores_of.of_pictures, "uri string, score double").collect()
    found = {row["uri"]: row["score"] for row in rows}
    return [found[path] for path in paths]


def frames_of(path: str) -> int:
    """The coded frames of a video."""
    with av.open(path) as source:
        return sum(packet.size > 0 for packet in source.demux(video=0))


def _videos(spark: SparkSession, paths: Sequence[str]) -> Any:
    """One row and one partition per video."""
    rows = spark.sparkContext.parallelize([(path, None) for path in paths], len(paths))
    return spark.createDataFrame(rows, "uri string, fingerprint string", verifySchema=False)


def _spans(path: str, chosen: Settings, ingest_env: Env) -> tuple[Row, list[Row]]:
    """The row of `videos` of a file, and its rows of `spans`."""
    [video] = ingest.facts({"uri": path}, ingest_env)
    return video, split.spans(video, chosen.split, ingest_env)
