"""Refusals of what was taken down: the rows of `takedowns` that name it, and how they are lifted."""

from __future__ import annotations

from collections.abc import Mapping, Set

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.errors import UnknownVideoError
from jobs.lake.cleanup import Step
from jobs.lake.formats import plain
from jobs.lake.run import Run
from udfs.ingest import TAKEN_DOWN

SOURCE = ("uri", "video_id", "content_tag")


def with_same_content(every: DataFrame, sources: DataFrame) -> DataFrame:
    """The sources, and all that share an address or the bytes with one of them; columns SOURCE."""
    sources, last_count = sources.distinct().localCheckpoint(), 0
    while (count := sources.count()) > last_count:
        by_address = every.join(sources.select("uri"), on="uri", how="left_semi")
        by_content = every.join(sources.select("content_tag"), on="content_tag", how="left_semi")
        sources = sources.unionByName(by_address).unionByName(by_content).distinct().localCheckpoint()
        last_count = count
    return sources


def lift(run: Run, names: Mapping[str, Set[str]], *, dry_run: bool) -> Step:
    """Let addresses and bytes be ingested again that were taken down; `names` has the spellings of each name.

    Raises:
        UnknownVideoError: a name is none of what was taken down.
    """
    every = run.tables.read("takedowns").select(*SOURCE).distinct()
    spellings = [spelling for of_name in names.values() for spelling in sorted(of_name)]
    named = every.where(F.col("uri").isin(spellings) | F.col("video_id").isin(spellings))
    known = {name for row in named.collect() for name in (row["uri"], row["video_id"])}
    if unknown := [name for name, of_name in names.items() if not of_name & known]:
        raise UnknownVideoError(f"takedown --lift: {unknown[0]} was not taken down here")
    lifted = with_same_content(every, named)
    for row in lifted.orderBy("uri", "video_id").toLocalIterator():
        print(plain(row["uri"]), row["video_id"])
    if not dry_run:
        _forget_denials(run)
        run.tables.drop("takedowns", lifted.select("uri", "video_id").distinct())
    return Step("refusals lifted", "takedowns", lifted.count())


def _forget_denials(run: Run) -> None:
    """Delete the failures of files whose bytes were taken down, so that the next run tries them again."""
    if run.tables.exists("failures"):
        denied = run.tables.read("failures").where((F.col("stage") == "ingest") & (F.col("message") == TAKEN_DOWN))
        run.tables.drop("failures", denied.select("key", "stage", "message").distinct())
