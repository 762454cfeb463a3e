"""Look up the rows of some clips in tables that may hold millions."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake.run import Run
from jobs.spark import session

FEW = 1000  # clips, which a query names one by one


def of_clips(run: Run, clips: DataFrame, *tables: DataFrame) -> list[DataFrame]:
    """The rows of these clips in each of the tables (all with a clip_id), kept once they were found.

    For few clips there is no join of all rows: only their ids are read or, where the rows have a `run_id`,
    ids alone, and then the files of the runs that made these rows.
    """
    ids = [row["clip_id"] for row in clips.select("clip_id").distinct().limit(FEW + 1).collect()]
    if len(ids) > FEW:
        return [rows.join(clips, on="clip_id", how="left_semi") for rows in tables]
    return [_found(run, rows.where(F.col("clip_id").isin(ids))) for rows in tables]


def _found(run: Run, rows: DataFrame) -> DataFrame:
    """Rows that are few, as they were found."""
    with session.compiled(run.spark, run.last.num_verdicts):
        if "run_id" not in rows.columns:
            return rows.localCheckpoint()
        run_ids = [row["run_id"] for row in rows.select("run_id").distinct().collect()]
    with session.skipping(run.spark):
        return rows.where(F.col("run_id").isin(run_ids)).localCheckpoint()
