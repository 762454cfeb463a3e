"""Deal videos with work left to waves: what is left is looked up once, and a wave has all rows that it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.flow import stage
from jobs.flow.stage import WAVE, Items, Stage
from jobs.flow.steps import named
from jobs.lake.history import Counts
from jobs.lake.landing import landed
from jobs.lake.run import Run
from schemas import TABLES
from udfs.core import scheduling

WITHOUT = {"embeddings": ("vector",)}  # columns that no stage of a wave reads of earlier rows


@dataclass
class Wave:
    """Some videos and their rows by table, to which stages add theirs, until `stack` is closed."""

    number: int
    total: int  # of all waves
    part: dict[str, DataFrame]
    is_current: bool  # whether all rows of the part are
    stack: ExitStack = field(default_factory=ExitStack)

    def run(self, run: Run, step: Stage) -> Counts:
        """Process what is pending of a stage; the next stages see the rows that it adds."""
        part = self.of(run)
        with named(run, f"{step.name}, wave {self.number + 1} of {self.total}"):
            todo = stage.work(part, step, stage.pending(part, step))
            land = self.stack.enter_context(run.tables.landing(f"{run.run_id}-{step.name}-{self.number}"))
            done = stage.process(run, step, Items(todo.collect(), todo.schema), land)
        if done.rows is not None:
            self.add(step.table, done.rows)
        return done.counts

    def of(self, run: Run) -> Run:
        """The run over the rows of this wave."""
        return run.of_part(self.part, is_current=self.is_current)

    def add(self, table: str, rows: DataFrame) -> None:
        """Add rows to the part."""
        there = self.part.get(table)
        self.part[table] = rows if there is None else there.unionByName(rows, allowMissingColumns=True)


class Waves(NamedTuple):
    """Their number, and one after the other."""

    total: int
    each: Iterator[Wave]


def of_new(run: Run, stack: ExitStack) -> Waves:
    """The waves of the videos that this run ingested, if none of them was there before."""
    videos = run.tables.read("videos").where(F.col("run_id") == run.run_id)
    stored, total = _dealt(run, stack, "new-videos", videos)
    parts = _parts(run, stack, {"videos": stored}, total)
    return Waves(total, (Wave(number, total, part, is_current=True) for number, part in enumerate(parts)))


def of_unfinished(run: Run, stack: ExitStack, unfinished: DataFrame, tables: Iterable[str]) -> Waves:
    """The waves of all videos that are `unfinished` (video_id, duration_s), with their rows by these settings.

    Not only their current rows: a clip of earlier spans is found again where new ones are the same.
    """
    videos, total = _dealt(run, stack, "unfinished-video-ids", unfinished)
    if not total:
        return Waves(0, iter(()))
    every = (run.tables.read(name).select("clip_id", "video_id") for name in ("spans", "clips"))
    clips = reduce(DataFrame.union, every).distinct().join(videos, on="video_id", how="left_semi")
    clips = run.store(stack, "unfinished-clip-ids", clips)
    rows = {}
    for name in filter(run.tables.exists, dict.fromkeys(("videos", "spans", *tables))):
        found = (run.current if name == "spans" else run.made)(name).drop(*WITHOUT.get(name, ()))
        of_videos = "video_id" in found.columns
        found = found.join(videos.select("video_id") if of_videos else clips, on="video_id" if of_videos else "clip_id")
        rows[name] = run.store(stack, f"unfinished-{name}", found)
    whole = {"failures": run.tables.read("failures")} if run.tables.exists("failures") else {}
    parts = _parts(run, stack, rows, total)
    return Waves(total, (Wave(number, total, part | whole, is_current=False) for number, part in enumerate(parts)))


def _parts(run: Run, stack: ExitStack, rows: dict[str, DataFrame], total: int) -> Iterator[dict[str, DataFrame]]:
    """Stored rows with a video_id, wave by wave."""
    if total > 1:
        number = stage.wave_of("video_id", total)
        rows = {
            name: run.store(stack, f"waves-{name}", found.withColumn(WAVE, number), by=WAVE)
            for name, found in rows.items()
        }
    for wave in range(total):
        yield {name: _of_wave(name, found, wave) for name, found in rows.items()}


def _of_wave(table: str, rows: DataFrame, wave: int) -> DataFrame:
    """The rows of a wave, without the video_id by which they were dealt where the table has none."""
    found = rows.where(F.col(WAVE) == wave).drop(WAVE) if WAVE in rows.columns else rows
    return found if "video_id" in TABLES[table].schema.names else found.drop("video_id")


def _dealt(run: Run, stack: ExitStack, name: str, videos: DataFrame) -> tuple[DataFrame, int]:
    """Videos, stored, and the number of their waves."""
    sums = {"n": F.count("*"), "s": F.coalesce(F.sum("duration_s"), F.lit(0.0))}
    stored, size = landed(partial(run.store, stack), name, videos, **sums)
    return stored, scheduling.num_waves(size["n"], size["s"], run.settings.curate)
