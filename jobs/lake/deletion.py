"""Delete the rows and the media files of videos that are taken down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from pyspark.sql import DataFrame

from jobs.lake import addresses, cleanup
from jobs.lake.cleanup import Step
from jobs.lake.run import Run
from schemas import TABLES

REPRESENTATIVE = {"copies": "copy_of", "verdicts": "duplicate_of"}  # the next run makes rows again that name a clip
BY_VIDEO = ("verdicts", "clips", "spans", "videos")  # last, since the clips of a video are found by them


class Targets(NamedTuple):
    """What to delete, as stored rows."""

    sources: DataFrame  # columns SOURCE
    clips: DataFrame  # clip_id
    relinked: DataFrame  # clip_id of the clips that the next dedup run links again

    @property
    def ids(self) -> DataFrame:
        """The ids of the videos and clips, as `id`."""
        videos = self.sources.where("video_id <> ''").select("video_id")
        return videos.union(self.clips).toDF("id")

    @property
    def id_set(self) -> set[str]:
        """The ids on the driver."""
        return {row["id"] for row in self.ids.toLocalIterator()}

    @property
    def identifiers(self) -> DataFrame:
        """The ids and addresses that no row may hold afterwards, as `id`."""
        return self.ids.union(self.sources.select("uri")).distinct()


def delete_rows(run: Run, targets: Targets, *, dry_run: bool) -> Iterator[Step]:
    """Delete the rows.

    Those by which others are found go last, so that a killed run can be run again.
    """
    own, others = "rows of it", "rows to be made again"
    for name in ("assignments", "duplicates"):
        yield from _delete_keys(run, others, name, targets.relinked, dry_run=dry_run)
    for name, column in REPRESENTATIVE.items():
        rows = run.tables.read(name).join(targets.clips.toDF(column), on=column, how="left_semi").select("clip_id")
        keys = rows.join(targets.clips, on="clip_id", how="left_anti").distinct().localCheckpoint()
        yield from _delete_keys(run, others, name, keys, dry_run=dry_run)
    for name, table in TABLES.items():
        if "clip_id" in table.schema.names and name not in BY_VIDEO:
            yield from _delete_keys(run, own, name, targets.clips, dry_run=dry_run)
    yield from _delete_keys(run, own, "failures", targets.identifiers.toDF("key"), dry_run=dry_run)
    yield from _delete_keys(run, own, addresses.NAME, targets.sources.select("uri").distinct(), dry_run=dry_run)
    for name in BY_VIDEO:
        yield from _delete_keys(run, own, name, targets.sources.select("video_id").distinct(), dry_run=dry_run)


def _delete_keys(run: Run, what: str, name: str, keys: DataFrame, *, dry_run: bool) -> Iterator[Step]:
    if not run.tables.exists(name):
        return
    count = run.tables.read(name).join(keys, on=keys.columns, how="left_semi").count()
    if count and not dry_run:
        run.tables.drop(name, keys)
    yield Step(what, name, count)


def delete_media(run: Run, targets: Targets, stack: ExitStack, *, dry_run: bool) -> Step:
    """Delete the media files of the clips, those of earlier settings included."""
    files = run.store(stack, "media", cleanup.media_of(run, targets.clips))
    return Step("media of it", "media", None, *(cleanup.size(files) if dry_run else cleanup.removed(run, files)))
