"""curate: run the whole chain, from a manifest to verdicts on clips and captions of kept ones."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from types import ModuleType

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import aesthetic, align, analyze, caption, clip, copies, dedup, embed, enhance, filter, ingest, split
from jobs.config import arguments
from jobs.config.arguments import argument
from jobs.config.settings import Settings
from jobs.flow import stage
from jobs.lake import history, summary, views
from jobs.lake.history import Counts
from jobs.lake.run import Run
from jobs.similarity import copy_groups
from udfs.core import scheduling

log = logging.getLogger("reelmill")

CUTTING = (split.STAGE, clip.STAGE, analyze.STAGE)  # one wave after another


@dataclass(frozen=True, kw_only=True)
class Options(ingest.Options, dedup.Options):
    """What `curate` takes."""

    deadline: datetime | None = argument(
        "from this time of day on begin no further group of videos; the next run goes on",
        default=None,
        type=arguments.deadline,
        metavar="HH:MM",
    )

    @property
    def ends_at(self) -> datetime | None:
        """The time from which on no wave of work begins."""
        return self.deadline


def check(options: Options, settings: Settings) -> Options:
    """Run the checks of the jobs of the chain; the options with the examined manifest."""
    options = replace(options, checked_manifest=ingest.check(options, settings).checked_manifest)
    captioning = [job for on, job in _captioning(settings) if on]
    measured = [split, clip, analyze, *([copies] if settings.filter.duplicates else [])]
    for job in (*measured, *([aesthetic] if settings.curate.aesthetic else []), embed, dedup, filter, *captioning):
        job.check(options, settings)
    return options


def run(run: Run, options: Options) -> Counts:
    """Ingest new files, run the stages on pending videos in waves, dedup, filter, caption kept clips.

    From the deadline on no wave begins; dedup and filter still process the clips of the waves that
    ran.
    """
    filter.accepted(run)  # refuses a wrong condition before any clip is cut
    counts, num_files_left = ingest.ingest_files(run, options)
    counts += _waves(run, options)
    apart = ["copies"] if run.settings.filter.duplicates else []
    if not run.late:  # else these settings may have made nothing yet
        history.note_settings(run, *(step.name for step in (*CUTTING, *_models(run))), *apart)
    counts += dedup.run(run, options)
    counts += filter.run(run, options)
    for on, job in _captioning(run.settings):
        counts += job.run(run, options) if on else Counts()
    views.register(run)
    print(summary.text(run, counts.num_files), flush=True)
    if run.late:
        log.info("deadline: %s; the next run goes on", _left(run, num_files_left))
    return counts


def _left(run: Run, num_files: int) -> str:
    """What is left to do, as text; `num_files` are left to ingest."""
    clips = [stage.pending(run, job.STAGE).count() for on, job in _captioning(run.settings) if on]
    described = f", {max(clips)} clips to describe" if clips else ""
    return (
        f"left are {num_files} files to ingest, {_unfinished(run).count()} videos to cut or ask models about{described}"
    )


def _captioning(settings: Settings) -> tuple[tuple[bool, ModuleType], ...]:
    """The jobs that caption kept clips, in order, and whether the settings turn each on."""
    switches = settings.curate
    return (switches.caption, caption), (switches.align, align), (switches.enhance, enhance)


def _models(run: Run) -> tuple[stage.Stage, ...]:
    """The stages that run models on the clips of a wave, while the next wave is cut."""
    return (aesthetic.STAGE, embed.STAGE) if run.settings.curate.aesthetic else (embed.STAGE,)


def _waves(run: Run, options: Options) -> Counts:
    total = _num_waves(run)
    with ThreadPoolExecutor(1) as models:
        later: list[Future[Counts]] = []
        cut = Counts()
        for wave in range(total):
            if len(later) > 1:
                # Cut one wave ahead of the models, no farther, so that a deadline leaves no queue.
                later[-2].result()
            if run.late:
                break
            cut = reduce(Counts.__add__, (stage.run_wave(run, step, wave, total) for step in CUTTING), cut)
            if run.settings.filter.duplicates:
                cut += copies.run(run, options)  # no model runs on a copy
            later.append(models.submit(_run_models, run, wave, total))
        return reduce(Counts.__add__, (done.result() for done in later), cut)


def _run_models(run: Run, wave: int, total: int) -> Counts:
    # A fair share beside the next wave's cutting.
    run.spark.sparkContext.setLocalProperty("spark.scheduler.pool", "models")
    return reduce(Counts.__add__, (stage.run_wave(run, step, wave, total) for step in _models(run)), Counts())


def _unfinished(run: Run) -> DataFrame:
    """Id and length of the videos that are pending in any stage."""
    todo = [stage.pending(run, step).select("video_id") for step in (*CUTTING, *_models(run))]
    if run.settings.filter.duplicates:
        todo.append(copy_groups.pending(run).select("video_id"))
    videos = run.tables.read("videos").select("video_id", "duration_s")
    return videos.join(reduce(lambda a, b: a.union(b), todo), on="video_id", how="left_semi")


def _num_waves(run: Run) -> int:
    """How many waves the unfinished videos need."""
    size = _unfinished(run).agg(F.count("*").alias("n"), F.coalesce(F.sum("duration_s"), F.lit(0.0)).alias("s")).first()
    assert size is not None
    return scheduling.num_waves(size["n"], size["s"], run.settings.curate)


if __name__ == "__main__":
    from jobs.cli import script

    script("curate")
