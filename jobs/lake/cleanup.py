"""Delete media files and old table versions of an output, for maintain and takedown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.lake.run import LEFT, Run
from jobs.spark import session
from schemas import PRIVATE, TABLES
from udfs.storage import cleanup, media_store
from udfs.storage.uris import is_remote

# The columns that name media files, as an array per row.
MEDIA = {"clips": "array(uri)", "signals": "concat(array(proxy_uri), coalesce(previews.uri, array()))"}
ID_CHARS = 36  # of a clip's id, with which the names of its files begin
MERGED = ("files to merge", "files merged")  # steps that delete no content


class Step(NamedTuple):
    """A line of the summary: what is deleted where, and how much of it; None where it is not counted."""

    what: str
    where: str
    rows: int | None = None
    files: int | None = None
    num_bytes: int | None = None


@dataclass(frozen=True)
class Removed:
    """What `maintain` or `takedown` deleted or, in a dry run, would delete: all that it looked at, and sums of it."""

    steps: tuple[Step, ...]  # those that found nothing included
    dry_run: bool
    num_videos: int = 0  # and addresses, that a takedown was about

    @property
    def num_rows(self) -> int:
        """Rows of tables."""
        return sum(step.rows or 0 for step in self.steps)

    @property
    def num_files(self) -> int:
        """Files of media, tables and exports, without those that were merged into others."""
        return sum(step.files or 0 for step in self.steps if step.what not in MERGED)

    @property
    def num_bytes(self) -> int:
        """Bytes of these files."""
        return sum(step.num_bytes or 0 for step in self.steps if step.what not in MERGED)


def summary(steps: Iterable[Step]) -> str:
    """The steps that found something as a table."""
    shown = [["" if value is None else value for value in step] for step in steps if step.rows or step.files]
    return pd.DataFrame(shown, columns=["what", "where", "rows", "files", "bytes"]).to_string(index=False)


def existing(run: Run) -> list[str]:
    """The tables that exist, private ones included."""
    return [name for name in (*TABLES, *PRIVATE) if run.tables.exists(name)]


def media(run: Run) -> DataFrame:
    """Rows of the FILES of udfs/storage/cleanup.py: every media file, listed a folder at a time on the executors."""
    folders = [(folder,) for folder in media_store.folders(f"{run.output}/media", run.settings.sources)]
    tasks = max(1, min(len(folders), 4 * run.spark.sparkContext.defaultParallelism))
    return (
        run.spark.createDataFrame(folders, "folder string")
        .repartition(tasks)
        .mapInArrow(partial(cleanup.list_files, sources=run.settings.sources), from_arrow_schema(cleanup.FILES))
    )


def media_of(run: Run, clips: DataFrame) -> DataFrame:
    """Rows of the FILES of the media of clips (clip_id), those of earlier settings included."""
    files = media(run).withColumn("clip_id", F.substring(F.substring_index("place", "/", -1), 1, ID_CHARS))
    return files.join(clips, on="clip_id", how="left_semi").drop("clip_id")


def named(rows: Callable[[str], DataFrame]) -> DataFrame:
    """`place` of every media file that the rows name; `rows` gives those of a table."""
    uris = (rows(name).select(F.explode(F.expr(uris)).alias("uri")) for name, uris in MEDIA.items())
    return reduce(DataFrame.union, uris).select(F.substring_index("uri", "/", -3).alias("place"))


def removed(run: Run, files: DataFrame) -> tuple[int, int]:
    """Delete these files; how many there were, and their bytes. The rows must be stored: they are read twice."""
    gone = files.mapInArrow(
        partial(cleanup.remove_files, sources=run.settings.sources), from_arrow_schema(cleanup.GONE)
    )
    return _sums(gone.agg(F.sum("num_files"), F.sum("num_bytes")))


def size(files: DataFrame) -> tuple[int, int]:
    """How many files these are, and their bytes."""
    return _sums(files.agg(F.count("*"), F.sum("num_bytes")))


def data_files(run: Run, name: str) -> DataFrame:
    """`path` and `num_bytes` of every data file under a table, whether its current version reads it or not."""
    files = run.spark.read.format("binaryFile").option("recursiveFileLookup", True).load(run.tables.place(name))
    return files.select("path", F.col("length").alias("num_bytes"))


def vacuum(run: Run, name: str, keep_hours: float, *, dry_run: bool = False) -> tuple[int, int]:
    """Delete the data files that no version of the last hours reads; how many, and their bytes."""
    before = size(data_files(run, name))
    if before[0] == len(run.tables.read(name).inputFiles()):
        return 0, 0  # known at once, where VACUUM starts some 40 Spark stages
    sql = f"VACUUM {run.tables.sql(name)} RETAIN {keep_hours:f} HOURS"
    with session.vacuuming(run.spark):
        if dry_run:
            unread = run.spark.sql(f"{sql} DRY RUN")
            return size(data_files(run, name).join(unread, on="path", how="left_semi"))
        run.spark.sql(sql)
    after = size(data_files(run, name))
    return before[0] - after[0], before[1] - after[1]


def swept(run: Run, *, dry_run: bool = False, whatever_age: bool = False) -> Step:
    """Delete what killed runs left incomplete.

    In a store only what is a week old, since anything newer may belong to a live run; or of `whatever_age`
    where none may be at work.
    """
    local = [] if is_remote(run.output) else [os.path.join(run.output, left) for left in LEFT]
    sizes = [
        os.path.getsize(os.path.join(at, name))
        for folder in local
        for at, _, names in os.walk(folder)
        for name in names
    ]
    if not dry_run:
        min_age_s = media_store.ANY_AGE_S if whatever_age else media_store.STORE_LEFTOVER_S
        media_store.remove_leftovers(run.output, LEFT[1], run.settings.sources, min_age_s)
    return Step("incomplete files", " ".join(LEFT), files=len(sizes), num_bytes=sum(sizes))


def _sums(counted: DataFrame) -> tuple[int, int]:
    row = counted.first()
    assert row is not None
    return row[0] or 0, row[1] or 0
