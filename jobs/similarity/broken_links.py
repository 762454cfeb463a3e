"""Clips whose links break once other clips are deleted; the next dedup run links them again."""

from __future__ import annotations

import json

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.run import Run
from jobs.similarity.dedup_run import with_duplicates
from udfs.similarity.kmeans import min_cosine


def clips_to_relink(run: Run, deleted: DataFrame) -> DataFrame:
    """The clips that dedup linked to one of the deleted clips (clip_id), and the duplicates of those."""
    links = run.tables.read("duplicates").select("clip_id", "duplicate_of", "similarity")
    duplicates = links.where(F.col("similarity") >= min_cosine(_loosest_level(run)))
    first = links.join(deleted.toDF("duplicate_of"), on="duplicate_of", how="left_semi").select("clip_id")
    every = with_duplicates(first, duplicates)
    return every.join(deleted, on="clip_id", how="left_anti").distinct()


def _loosest_level(run: Run) -> float:
    """The loosest eps at which the last dedup run found duplicates."""
    last = run.tables.read("runs").where("stage = 'dedup'").agg(F.max_by("conf", "started_at")).first()
    if last is None or last[0] is None:
        return max(run.settings.dedup.levels)
    return float(max(json.loads(last[0])["dedup"]["levels"]))
