"""maintain: delete superseded rows, expired table versions and unreferenced media"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from delta.tables import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import OutputOptions, argument, flag
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.lake import cleanup, clock, history, places, rest
from jobs.lake.cleanup import Removed, Step
from jobs.lake.history import Work
from jobs.lake.owners import Owner, owners
from jobs.lake.run import Run, without_superseded
from jobs.spark import session
from schemas import TABLES

LEAST_DAYS = 7  # as long as Delta lets readers and writers rely on the files of a table
BY_CLUSTER = ("duplicates",)  # rows of each dedup run
LAID_OUT = ("assignments",)  # by dedup: compaction would put all clusters into one file
LARGE_BYTES, IDS = 16 << 20, ("clip_id", "video_id", "key")  # in a table of this size these are found by Bloom filters
Rows = Callable[[str], DataFrame]  # a table's name -> rows of it

MORE = {"copy_keys": Owner("copies", "clips"), "centroids": Owner("dedup", None)}


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `maintain` takes."""

    SWEEPS: ClassVar[bool] = False

    dry_run: bool = flag("show what would be deleted, and change nothing")
    keep_days: float | None = argument(
        "days for which old versions stay readable; wins over maintain.keep_days", default=None, type=float, metavar="N"
    )
    force: bool = flag("keep versions for less than a week: no one else uses the tables")


def check(options: Options, settings: Settings) -> None:
    """Refuse an output without tables, and versions kept for less than a week unless forced."""
    places.check_tables(options.output, options.schema, settings.sources)
    days = _keep_days(options, settings)
    if not 0 <= days < math.inf:
        raise UsageError(f"keep-days {days:g}: give a number of days, 0 or more")
    if days < LEAST_DAYS and not options.force:
        raise UsageError(
            f"under {LEAST_DAYS} days, files are deleted that a reader or writer may still use: "
            "add --force if there is none"
        )


def run(run: Run, options: Options) -> Removed:
    """Delete superseded rows, unreferenced media, and files of expired versions; or only list them."""
    started, dry_run = clock.now(), options.dry_run
    is_at_rest = _is_at_rest(run)
    keep_hours = 24 * _keep_days(options, run.settings)
    steps = [cleanup.swept(run, dry_run=dry_run)]  # first, since the other steps store rows there
    kept = partial(_kept, run, _old(run))
    steps += _superseded(run, kept, dry_run=dry_run)
    steps += _orphans(run, kept, dry_run=dry_run)
    for name in cleanup.existing(run):
        steps += _compacted(run, name, dry_run=dry_run)
        steps.append(Step("old versions", name, None, *cleanup.vacuum(run, name, keep_hours, dry_run=dry_run)))
    removed = Removed(tuple(steps), dry_run)
    print(cleanup.summary(steps), flush=True)
    if dry_run:
        print("nothing was changed: this is what would be deleted", flush=True)
        return removed
    history.note(run, "maintain", Work(started_at=started, num_in=removed.num_rows))
    if is_at_rest:
        if removed.num_rows:
            run.last.linked = None  # vectors of superseded clips were counted
        rest.note_again(run)  # no row has gone that counts
    return removed


def _owned() -> dict[str, Owner]:
    """The tables whose rows of earlier settings go, with their owners."""
    return owners() | MORE


def _is_at_rest(run: Run) -> bool:
    """Whether the last chain left nothing to do, and its settings are the newest of every stage, whose rows stay."""
    newer = {owner.stage for owner in _owned().values()} & (run.last.fingerprints.keys() - run.last.settled.keys())
    return not newer and rest.is_noted(run)


def _keep_days(options: Options, settings: Settings) -> float:
    return float(settings.maintain.keep_days if options.keep_days is None else options.keep_days)


def _superseded(run: Run, kept: Rows, *, dry_run: bool) -> Iterator[Step]:
    """Delete the rows of all but the last settings of a stage, and the rows that were made from those."""
    for name in _owned():
        if not run.tables.exists(name):
            continue
        keys = [*TABLES[name].key, "fingerprint"]
        rows = run.tables.read(name).select(keys)
        with run.tables.landing(f"{run.run_id}-maintain-{name}") as land:
            gone = land(rows.join(kept(name).select(keys), on=keys, how="left_anti"))
            count = gone.count()
            if count and not dry_run:
                run.tables.drop(name, gone)
            yield Step("rows of earlier settings", name, count)


def _old(run: Run) -> dict[str, list[str]]:
    """The fingerprints of each stage but for the newest ones; only those in `runs`."""
    runs = run.tables.read("runs").groupBy("stage", "fingerprint").agg(F.max("started_at").alias("last"))
    old: dict[str, list[str]] = {}
    for row in sorted(runs.collect(), key=lambda row: row["last"], reverse=True):
        old.setdefault(row["stage"], []).append(row["fingerprint"])
    return {stage: fingerprints[run.settings.maintain.keep_settings :] for stage, fingerprints in old.items()}


def _kept(run: Run, old: dict[str, list[str]], name: str) -> DataFrame:
    """The rows of a table that stay: those of the newest settings whose upstream rows stay."""
    stage, upstream = _owned()[name]
    rows = run.tables.read(name).where(~F.col("fingerprint").isin(old.get(stage, [])))
    if upstream is not None:
        return rows.join(_kept(run, old, upstream).select("clip_id"), on="clip_id", how="left_semi")
    return without_superseded(rows, run.tables.read("videos")) if name == "spans" else rows


def _orphans(run: Run, kept: Rows, *, dry_run: bool) -> Iterator[Step]:
    """Delete the media files that no remaining row names and that are older than the grace period."""
    if not run.tables.exists("clips"):  # then nothing says which files are in use
        return
    before = time.time() - 3600 * run.settings.maintain.grace_hours
    files = cleanup.media(run).where(F.col("changed_s") < before)
    with run.tables.landing(f"{run.run_id}-maintain-orphans") as land:
        orphans = land(files.join(cleanup.named(kept), on="place", how="left_anti"))
        yield Step(
            "media without a row", "media", None, *(cleanup.size(orphans) if dry_run else cleanup.removed(run, orphans))
        )


def _compacted(run: Run, name: str, *, dry_run: bool) -> Iterator[Step]:
    """Merge small files of a table; how many were merged, or would be."""
    table = DeltaTable.forName(run.spark, run.tables.sql(name))
    detail = table.detail().select("numFiles", "sizeInBytes").first()
    if name in LAID_OUT or detail is None or detail["numFiles"] < 2:
        return
    if dry_run:
        yield Step("files to merge", name, None, *detail)
    else:
        is_large = detail["sizeInBytes"] >= LARGE_BYTES
        finding = session.finding(run.spark, IDS if is_large else ())
        with finding, session.finely_paged(run.spark) if name in BY_CLUSTER else nullcontext():
            done = (
                table.optimize()
                .executeCompaction()
                .select("metrics.filesRemoved.totalFiles", "metrics.filesRemoved.totalSize")
            )
            merged = done.first()
        yield Step("files merged", name, None, *(merged or (0, 0)))


if __name__ == "__main__":
    from jobs.cli import script

    script("maintain")
