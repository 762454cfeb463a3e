"""Which clips meet the condition `filter.where`, which is known of them before any model runs."""

from __future__ import annotations

import re

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.lake.run import Run
from udfs.filter import where_gate

LABELS = re.compile(r"\blabels\b")  # in a condition


def accepted(run: Run, some: DataFrame | None = None) -> DataFrame:
    """The current clips, or `some` clips, with the column `accepted`: whether `filter.where` is true of each.

    The condition is on c (the clip), v (its video) and l (with `labels`, an array of what people called the clip).

    Raises:
        SettingsError: the condition is no SQL, or names a column that none of them has.
    """
    clips = (run.current("clips") if some is None else some).alias("c")
    videos = run.rows("videos")
    if some is not None:
        videos = videos.join(some.select("video_id").distinct(), on="video_id", how="left_semi")
    joined = clips.join(videos.alias("v"), on=F.col("c.video_id") == F.col("v.video_id"), how="left")
    if reads_labels(run.settings):
        joined = joined.join(_labels(run, clips).alias("l"), on=F.col("c.clip_id") == F.col("l.of_clip"), how="left")
    try:
        is_accepted = F.expr(f"coalesce(({run.settings.filter.where}), false)").alias("accepted")
        return joined.select("c.clip_id", is_accepted)
    except (ParseException, AnalysisException) as e:
        raise SettingsError(f"filter.where: {str(e).splitlines()[0]}") from e


def with_accepted(run: Run, rows: DataFrame) -> DataFrame:
    """Rows of current clips with the column `accepted`; without a condition it is true."""
    if where_gate(run.settings.filter) is None:
        return rows.withColumn("accepted", F.lit(True))
    return rows.join(accepted(run), on="clip_id", how="left")


def reads_labels(settings: Settings) -> bool:
    """Whether the condition is on labels, too, which people may change at any time."""
    return LABELS.search(settings.filter.where) is not None


def _labels(run: Run, clips: DataFrame) -> DataFrame:
    """Every clip (`of_clip`) with its `labels`; an empty array where no one gave it any."""
    given = run.tables.read("labels").groupBy("clip_id").agg(F.array_sort(F.collect_set("label")).alias("labels"))
    every = clips.select("clip_id").join(given, on="clip_id", how="left")
    none = F.array().cast("array<string>")
    return every.select(F.col("clip_id").alias("of_clip"), F.coalesce("labels", none).alias("labels"))
