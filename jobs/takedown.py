"""takedown: videos, takedowns, spans, clips, verdicts, duplicates, runs -> takedowns"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import OutputOptions, argument, flag, several
from jobs.config.errors import RemainsError, UnknownVideoError, UsageError
from jobs.config.settings import Settings
from jobs.exports import withdrawals
from jobs.lake import addresses, cleanup, clock, deletion, history, places, refusals, remains
from jobs.lake.cleanup import Removed, Step
from jobs.lake.deletion import Targets
from jobs.lake.formats import plain
from jobs.lake.history import Work
from jobs.lake.refusals import SOURCE
from jobs.lake.run import Run
from jobs.queries import ask, spark_engine, statement
from jobs.reports import files
from jobs.similarity.broken_links import clips_to_relink
from udfs.core.signed_addresses import unsigned
from udfs.exports import withdraw
from udfs.storage import media_store
from udfs.storage.uris import absolute_uri, existing_uri, is_web, redacted

ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # of a video or clip
FOLDER = "is a folder, no video: choose videos in it by --sql, and give each export an --exports of its own"
AFTERWARDS = """centroids are averages and stay: {dedup} --refit fits new ones without what was taken down
the next run makes copies and verdicts that named its clips again, and links clips again that were its duplicates
the tables' logs keep the least and greatest values of deleted files for 30 days (delta.logRetentionDuration)"""


@dataclass(frozen=True, kw_only=True)
class Options(OutputOptions):
    """What `takedown` takes."""

    SWEEPS: ClassVar[bool] = False

    what: tuple[str, ...] = argument(
        "video_id or uri", default=(), named=False, positional=True, nargs="*", metavar="VIDEO"
    )
    sql: str | None = argument(
        "a query over the tables and views with a column video_id", default=None, metavar="QUERY"
    )
    reason: str | None = argument("why, which the table takedowns keeps", default=None, metavar="TEXT")
    exports: tuple[str, ...] = several("take it out of this export too; repeatable", "FOLDER")
    unknown_ok: bool = flag("refuse addresses from now on that no video here has")
    lift: bool = flag("let what was taken down be ingested again")
    dry_run: bool = flag("show what would be deleted, and change nothing")

    @property
    def folders(self) -> tuple[str, ...]:
        """The exports' folders, by the names that every process knows."""
        return tuple(map(places.normal, self.exports))


def check(options: Options, settings: Settings) -> None:
    """Refuse an output without tables, what names no video, two ways to name videos, and missing exports.

    Raises:
        UsageError: the options do not go together, or an export is not there.
        UnknownVideoError: a name means a folder or looks like an option.
    """
    places.check_tables(options.output, options.schema, settings.sources)
    if bool(options.what) == (options.sql is not None):
        raise UsageError("takedown: name videos by id or uri, or give --sql, one of both")
    if options.lift and (options.sql or options.exports or options.reason or options.unknown_ok):
        raise UsageError("takedown --lift: takes ids or addresses, and --dry-run")
    for name in options.what:
        _check_name(name)
    if options.sql is not None:
        ask.check_query("--sql", options.sql, options.output, options.schema, settings.sources)
    for folder in options.exports:
        if not media_store.holds(places.place("--exports", folder, settings.sources), settings.sources):
            raise UsageError(f"--exports {redacted(folder)}: no such folder")


def _check_name(name: str) -> None:
    if name.startswith("-"):
        raise UnknownVideoError(f"takedown: {name} looks like an option; write a file of that name as ./{name}")
    if (name.endswith("/") and not is_web(name)) or os.path.isdir(existing_uri(absolute_uri(name))):
        raise UnknownVideoError(f"takedown: {redacted(name)} {FOLDER}")


def run(run: Run, options: Options) -> Removed:
    """Delete the videos from every table and folder with old versions; check that nothing is left.

    Raises:
        RemainsError: something is left.
        UnknownVideoError: a name means no video.
    """
    if options.lift:
        return _lift(run, options)
    started, dry_run = clock.now(), options.dry_run
    steps = [cleanup.swept(run, dry_run=dry_run, whatever_age=True)]  # rows that killed runs left may be of it
    with ExitStack() as stack:
        targets = _targets(run, options, stack)
        if not dry_run:
            # First, so that a killed run can be run again.
            run.tables.append("takedowns", _takedown_rows(run, targets, options.reason))
        steps += deletion.delete_rows(run, targets, dry_run=dry_run)
        steps.append(deletion.delete_media(run, targets, stack, dry_run=dry_run))
        steps.append(_delete_report(run, dry_run=dry_run))
        ids = targets.id_set
        steps += (withdrawals.take_out(run, folder, ids, dry_run=dry_run) for folder in options.folders)
        others = [*withdrawals.other_exports(run, options.folders, ids)]
        removed = Removed(tuple(steps), dry_run, num_videos=targets.sources.count())
        print("\n".join([cleanup.summary(steps), *(f"left where it is: {left}" for left in others)]), flush=True)
        if dry_run:
            print("nothing was changed: this is what would be deleted", flush=True)
            return removed
        for name in cleanup.existing(run):
            cleanup.vacuum(run, name, 0)  # no earlier version can be read any more
        _check_nothing_remains(run, targets, options.folders, others)
    print(AFTERWARDS.format(dedup=run.command("dedup")), flush=True)
    work = Work(started_at=started, num_in=removed.num_videos, num_out=removed.num_rows)
    history.note(run, "takedown", work)
    return removed


def _lift(run: Run, options: Options) -> Removed:
    """Let the videos be ingested again that the options name."""
    started = clock.now()
    names = {name: {name, existing_uri(unsigned(absolute_uri(name)))} for name in options.what}
    step = refusals.lift(run, names, dry_run=options.dry_run)
    print("nothing was changed" if options.dry_run else "the next run ingests these again where it finds them")
    if not options.dry_run:
        history.note(run, "takedown", Work(started_at=started, num_in=step.rows or 0))
    return Removed((step,), options.dry_run, num_videos=step.rows or 0)


def _targets(run: Run, options: Options, stack: ExitStack) -> Targets:
    sources = run.store(stack, "sources", _sources(run, options))
    if sources.isEmpty():
        raise UnknownVideoError("takedown: no such video")
    for row in sources.orderBy("uri", "video_id").toLocalIterator():
        print(plain(row["uri"]), row["video_id"] or "(no video is known here; this address is refused from now on)")
    video_ids = sources.select("video_id")
    tables = (run.tables.read("spans"), run.tables.read("clips"), run.tables.read("verdicts"))
    clip_ids = [rows.join(video_ids, on="video_id", how="left_semi").select("clip_id") for rows in tables]
    earlier = run.tables.read("takedowns").join(video_ids, on="video_id", how="left_semi")
    clip_ids.append(earlier.select(F.explode("clip_ids").alias("clip_id")))
    clips = run.store(stack, "clips", reduce(DataFrame.union, clip_ids).distinct())
    return Targets(sources, clips, run.store(stack, "relinked", clips_to_relink(run, clips)))


def _sources(run: Run, options: Options) -> DataFrame:
    """The videos that the options name, and all with the same address or bytes.

    An address without a video gives a row without an id.

    Raises:
        UnknownVideoError: a name means no video, and is no address to be refused from now on.
    """
    every = run.tables.read("videos").select(*SOURCE).union(run.tables.read("takedowns").select(*SOURCE)).distinct()
    if options.sql:
        sources = every.join(_query_ids(run, options.sql), on="video_id", how="left_semi").select(*SOURCE)
    else:
        names = [name if ID.fullmatch(name) else existing_uri(unsigned(absolute_uri(name))) for name in options.what]
        uri = addresses.unsigned_column(F.col("uri"))  # rows of 0.1.0 have signatures
        sources = every.where(uri.isin(*names, *options.what) | F.col("video_id").isin(names))
        known = {name for row in sources.collect() for name in (unsigned(row["uri"]), row["video_id"])}
        unknown = [(name, "", None) for name in names if name not in known]
        for name, _, _ in unknown:
            _check_unknown(name, every, options)
        sources = sources.union(run.spark.createDataFrame(unknown, every.schema))
    return refusals.with_same_content(every, sources)


def _check_unknown(name: str, every: DataFrame, options: Options) -> None:
    """Refuse a name that no video has, unless it is an address to be refused from now on."""
    if ID.fullmatch(name):
        raise UnknownVideoError(f"takedown: no video {name}")
    if not every.where(F.col("uri").startswith(f"{name}/")).isEmpty():
        raise UnknownVideoError(f"takedown: {redacted(name)} {FOLDER}")
    if not options.unknown_ok:
        raise UnknownVideoError(
            f"takedown: no video here has the address {redacted(name)}; --unknown-ok refuses it from now on"
        )


def _query_ids(run: Run, query: str) -> DataFrame:
    """The column video_id of the answer to a query."""
    asked = statement.query_of("--sql", query, catalog=run.schema is not None)
    try:
        rows = spark_engine.Engine(run).rows(asked)
    except UsageError as e:
        raise UsageError(f"--sql: {str(e).removeprefix('sql: ')}") from e
    if "video_id" not in rows.columns:
        raise UsageError(f"--sql: the answer has no column video_id, only {', '.join(rows.columns)}")
    return rows.select(F.col("video_id").cast("string"))


def _takedown_rows(run: Run, targets: Targets, reason: str | None) -> DataFrame:
    """Rows of takedowns."""
    spans, clips = (run.tables.read(name).select("video_id", "clip_id") for name in ("spans", "clips"))
    clip_ids = spans.union(clips).groupBy("video_id").agg(F.sort_array(F.collect_set("clip_id")).alias("clip_ids"))
    return targets.sources.join(clip_ids, on="video_id", how="left").select(
        addresses.unsigned_column(F.col("uri")).alias("uri"),
        *SOURCE[1:],
        F.coalesce("clip_ids", F.array().cast("array<string>")).alias("clip_ids"),
        F.lit(reason).cast("string").alias("reason"),
        F.lit(run.now()).alias("taken_at"),
        F.lit(run.fingerprint("takedown")).alias("fingerprint"),
        F.lit(run.run_id).alias("run_id"),
    )


def _delete_report(run: Run, *, dry_run: bool) -> Step:
    """Delete the page of the output, which the next run makes again; it may show the clips."""
    page, sources = files.default(run.output), run.settings.sources
    size = media_store.size(page, sources)
    if size is not None and not dry_run:
        media_store.remove([page], sources)
    return Step("page that may show it", files.NAME, None, int(size is not None), size or 0)


def _check_nothing_remains(run: Run, targets: Targets, exports: Sequence[str], others: Sequence[str]) -> None:
    """Look for the videos and their clips wherever they were; `others` says what is left in exports not named.

    Raises:
        RemainsError: some are left.
    """
    identifiers = targets.identifiers
    counts = remains.num_remains(run, identifiers, targets.clips)
    for folder in exports:
        affected = withdraw.affected_files(folder, targets.id_set, run.settings.sources)
        counts[f"files exported to {folder}"] = sum(1 for _ in affected)
    if left := [*(f"{count} {where}" for where, count in counts.items() if count), *others]:
        raise RemainsError(f"takedown: not everything was deleted: {', '.join(left)}")
    names = remains.searched_tables(run)
    num_files = sum(cleanup.size(cleanup.data_files(run, name))[0] for name in names)
    of_exports = "".join(f", in {folder}: 0 files" for folder in exports)
    print(f"looked for {identifiers.count()} ids and addresses afterwards")
    print(f"  in every text column of {len(names)} tables: 0 rows")
    print(f"  in the {num_files} data files that are left on disk, old versions included: 0 rows")
    print(f"  in the names of media files: 0 files{of_exports}", flush=True)


if __name__ == "__main__":
    from jobs.cli import script

    script("takedown")
