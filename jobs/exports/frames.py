"""Export the frames of clips or videos: a folder of pictures per clip or video."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructType

from jobs.config.errors import UsageError
from jobs.exports import folders, paths
from jobs.exports.options import Options
from jobs.flow import stage
from jobs.flow.progress import Progress
from jobs.flow.stage import Items
from jobs.lake import addresses, answers, clock, history
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.queries import spark_engine, statement
from jobs.spark import resources
from udfs.exports import frames
from udfs.runtime import batching
from udfs.storage.media_store import UNFINISHED
from udfs.video import nvdec

RESULTS = StructType().add("num_frames", LongType()).add("num_bytes", LongType())
# Of each kind of row: the view, its key, what changes when the file does, and the bytes of the file.
KINDS = {
    "auto": ("curated", "clip_id", "sha256", "num_bytes"),
    "curated": ("curated", "clip_id", "sha256", "num_bytes"),
    "clips": ("current_clips", "clip_id", "sha256", "num_bytes"),
    "videos": ("current_videos", "video_id", "source_version", "size"),
}


def run(run: Run, options: Options) -> Counts:
    """Write the missing folders of the clips or videos that the settings name, wave after wave."""
    todo, to, counts = _pending(run), options.folder, Counts()
    if options.dry_run:
        print(f"frames: {todo.count()} clips or videos")
        return counts
    with ExitStack() as stack, _aside(run, to) as aside:
        waves = stage.waves(run, "export", todo, stack, by="video_id", duration="duration_s")
        for wave, items in enumerate(waves):
            if wave == 0:
                folders.note(run, to)
            with run.tables.landing(f"{run.run_id}-export-{wave}") as land:
                counts += _write(run, to, aside, items, land)
    return counts or history.note_settings(run, "export")


def _write(run: Run, to: str, aside: str, items: Items, land: Callable[..., DataFrame]) -> Counts:
    """Write the missing folders of one wave."""
    if not items.rows:
        return Counts()
    started = clock.now()
    with Progress(run, "export", items.rows) as progress:
        params = run.settings.export.frames
        needs = nvdec.gpu_resources(params.resources, params.hwaccel == "cuda")
        rows = partial(stage.with_task, partial(frames.rows, to=to, aside=aside), params, run.env("export"))
        counted = partial(batching.count_inputs, rows=rows, done=progress.done, failed=progress.failed)
        inputs = stage.spread(run, needs, *addresses.with_addresses(run, *items), "duration_s")
        with resources.scheduled("export", run.spark.sparkContext, needs) as profile:
            results = history.watched(inputs.mapInPandas(counted, stage.envelope(RESULTS), profile=profile))
        done = land(results.rows)
    tally = results.tally()
    num_in = tally.num_ok + tally.failed.total()  # folders that were complete before are not counted
    if not num_in:
        return Counts()
    work = Work(started_at=started, num_in=num_in, num_out=tally.num_ok)
    return history.record(run, "export", done, tally, work, exported_to=to)


@contextmanager
def _aside(run: Run, to: str) -> Iterator[str]:
    """A folder for incomplete files, named by the output, which is locked: what it holds is left by a killed run."""
    aside = os.path.join(to, UNFINISHED, hashlib.blake2b(run.output.encode(), digest_size=8).hexdigest())
    shutil.rmtree(aside, ignore_errors=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # not there, or another output is being exported to the same place
            os.rmdir(os.path.dirname(aside))


def _pending(run: Run) -> DataFrame:
    """The clips or videos that the settings name, without those that failed with the same bytes and settings."""
    params = run.settings.export
    answers.register_views(run, run.settings.filter.aesthetic_reduction)
    view, key, version, num_bytes = KINDS[params.what]
    statement.query_of("export.where", f"SELECT * FROM {view} WHERE {params.where}", catalog=run.schema is not None)
    try:
        with spark_engine.no_files(run.spark):
            asked = run.spark.table(view).where(params.where)
    except (ParseException, AnalysisException) as e:
        raise UsageError(f"export.where: {str(e).splitlines()[0]}") from e
    keyed = asked.dropDuplicates([key]).select(
        F.col(key).alias("key"),
        "video_id",
        "uri",
        F.col(version).alias("version"),
        F.col(num_bytes).alias("num_bytes"),
        "duration_s",
        paths.name(F.col("uri"), params.paths, paths.videos_folder(run)).alias("shown_uri"),
        F.lit(params.what == "videos").alias("is_source"),
        F.substring(F.md5(F.concat(F.lit(run.fingerprint("export")), version)), 1, 16).alias("fingerprint"),
    )
    return keyed.join(stage.given_up(run, "export").drop("failed_in"), on=["key", "fingerprint"], how="left_anti")
