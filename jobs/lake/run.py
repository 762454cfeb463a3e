"""One run over one output: its session, tables, settings and lock, and which rows are current."""

from __future__ import annotations

import logging
import os
import shlex
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from jobs.config.errors import OutputBusyError
from jobs.config.settings import Settings
from jobs.lake import clock, last_run, places
from jobs.lake.board import Board
from jobs.lake.catalog import Schema
from jobs.lake.fingerprints import fingerprint, is_stage
from jobs.lake.landing import LANDING
from jobs.lake.last_run import LastRun
from jobs.lake.owners import owners
from jobs.lake.tables import Tables
from schemas import TABLES
from udfs.core import program
from udfs.core.errors import MediaError, StoreError
from udfs.core.host_files import acquire, open_lock_file
from udfs.core.words import duration
from udfs.models import checkpoints
from udfs.runtime.context import Env
from udfs.storage import http_cache, media_store
from udfs.storage.media_store import UNFINISHED
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import S3, local_path, split_scheme

log = logging.getLogger("reelmill")
CLOCKS_DIFFER = timedelta(minutes=1)  # by less on machines that are all right
LEFT = (f"media/{UNFINISHED}", f"tables/{LANDING}")  # folders where a killed run leaves incomplete files


@dataclass(frozen=True)
class RowsOfRun(Mapping[str, DataFrame]):
    """The rows that one run wrote, by table, as they are when they are asked for."""

    tables: Tables
    run_id: str

    def __getitem__(self, name: str) -> DataFrame:
        return self.tables.read(name).where(F.col("run_id") == self.run_id)

    def __contains__(self, name: object) -> bool:
        return self.tables.exists(str(name))

    def __iter__(self) -> Iterator[str]:
        return filter(self.tables.exists, TABLES)

    def __len__(self) -> int:
        return len([*self])


@dataclass(frozen=True)
class Run:
    """One run over one output. `retry` names the failure codes to try again, None for none, empty for all."""

    spark: SparkSession
    output: str
    settings: Settings
    retry: tuple[str, ...] | None = None
    live: bool = False
    recorded: Mapping[str, str] | None = None  # fingerprints to go by instead of those of the settings
    deadline: datetime | None = None  # from then on no wave of work begins
    schema: Schema | None = None  # where the tables are registered
    pinned: Mapping[str, int] | None = None  # versions of tables to read instead of the newest
    notes_together: bool = False  # whether rows of `runs` wait for `history.flush`
    noted: list[tuple[Any, ...]] = field(default_factory=list)  # those that wait
    part: Mapping[str, DataFrame] | None = None  # rows of some videos by table, made by these settings, to read
    is_part_current: bool = True  # whether all rows of the part are current
    board: Board = field(default_factory=Board)  # what it is doing
    behind: timedelta = timedelta(0)  # how far the clock is behind the last run
    run_id: str = field(default_factory=lambda: new_id(datetime.now(UTC)))

    @cached_property
    def tables(self) -> Tables:
        """The output's tables."""
        root = f"{self.output}/tables"
        return Tables(self.spark, root, self.schema, self.pinned, is_only_writer=self.is_only_writer)

    @cached_property
    def last(self) -> LastRun:
        """What `runs` says of earlier runs."""
        return last_run.read(self.tables)

    def of_part(self, part: Mapping[str, DataFrame], *, is_current: bool = True) -> Run:
        """This run over rows of some videos, all of which are current or not."""
        return self._changed(replace(self, part=part, is_part_current=is_current))

    def of_this_run(self) -> Run:
        """This run over the rows that it has written itself."""
        return self.of_part(RowsOfRun(self.tables, self.run_id))

    @property
    def whole(self) -> Run:
        """This run over all rows."""
        return self if self.part is None else self._changed(replace(self, part=None))

    def store(self, stack: ExitStack, name: str, rows: DataFrame, by: str | None = None) -> DataFrame:
        """Store rows, perhaps by a column, so that they are computed once, for as long as the stack is open."""
        return stack.enter_context(self.tables.landing(f"{self.run_id}-{name}"))(rows, by)

    def after_last(self) -> Run:
        """This run, whose times and id come after those of the last run though the clock was set back.

        By these it is known which run was the last.
        """
        clock.restart()
        until, now = self.last.until, clock.now()
        if until is None or until < now:
            return self
        behind = until - now + timedelta(seconds=1)
        if behind > CLOCKS_DIFFER:
            log.warning(
                "the clock of this machine is %s behind the last run of this output; the times of this run are "
                "noted as if they came after it",
                duration(behind.total_seconds()),
            )
        return self._changed(replace(self, behind=behind, run_id=new_id(now + behind)))

    def now(self) -> datetime:
        """The time, in UTC; after all times of earlier runs."""
        return clock.now() + self.behind

    def with_notes_together(self) -> Run:
        """This run, whose rows of `runs` wait for `history.flush`."""
        return self._changed(replace(self, notes_together=True))

    def _changed(self, run: Run) -> Run:
        run.__dict__.update(tables=self.tables, last=self.last)  # with all that they know by now
        return run

    @property
    def is_only_writer(self) -> bool:
        """Whether no other run writes here at the same time: by a lock, or as the settings promise."""
        return media_store.has_locks(self.output) or (
            split_scheme(self.output)[0] in S3 and self.settings.sources.s3_writers == "one"
        )

    def fingerprint(self, stage: str) -> str:
        """The fingerprint of a stage with these settings."""
        if self.recorded is not None:
            return self.recorded.get(stage, "never run")
        if not is_stage(stage, self.settings):  # of the user's own, and not in these settings
            return self.last.fingerprints.get(stage, "never run")
        return fingerprint(stage, self.settings)

    def command(self, job: str) -> str:
        """The command line that runs a job on this output, without the arguments of the job's own."""
        schema = f" --schema {self.schema}" if self.schema else ""
        return f"{program.command()} {job} --output {shlex.quote(self.output)}{schema}"

    @property
    def late(self) -> bool:
        """Whether the deadline is past."""
        return self.deadline is not None and datetime.now(UTC) >= self.deadline

    def env(self, stage: str) -> Env:
        """What the stage's work needs on the executors beside its own settings."""
        s = self.settings
        return Env(
            f"{self.output}/media",
            self.fingerprint(stage),
            s.limits,
            s.sources,
            checkpoints.with_absolute_dir(s.models),
        )

    def holds(self, name: str) -> bool:
        """Whether there may be rows in a table, or in its part."""
        return self.tables.exists(name) if self.part is None else name in self.part

    def rows(self, name: str) -> DataFrame:
        """The rows of a table, or of its part."""
        if self.part is None:
            return self.tables.read(name)
        return self.part[name] if name in self.part else self.tables.none(name)

    def made(self, name: str) -> DataFrame:
        """The rows of a table that these settings made; of videos, the newest row per uri."""
        rows = self.rows(name)
        if self.part is not None:
            return rows
        if name == "videos":
            return newest_videos(rows) if self.may_be_superseded else rows
        if (owner := owners().get(name)) is None:
            return rows
        return rows.where(F.col("fingerprint") == self.fingerprint(owner.stage))

    @property
    def may_be_superseded(self) -> bool:
        """Whether there may be videos of which a newer row has the same uri."""
        return not self.is_only_writer or self.tables.any_superseded

    def current(self, name: str) -> DataFrame:
        """The rows of a table that these settings made, and whose span and video are current.

        The fingerprint of a row holds those of all stages between it and its span.
        """
        if name not in owners() or (self.part is not None and (self.is_part_current or name == "spans")):
            return self.made(name)
        if name != "spans":
            return self.made(name).join(self.current("spans").select("clip_id"), on="clip_id", how="left_semi")
        rows = self.made(name)
        return without_superseded(rows, self.tables.read("videos")) if self.may_be_superseded else rows


def without_superseded(rows: DataFrame, videos: DataFrame) -> DataFrame:
    """The rows of the videos that no newer row with the same uri supersedes."""
    place = F.row_number().over(Window.partitionBy("uri").orderBy(F.desc("run_id"))).alias("place")
    superseded = videos.select("video_id", place).where("place > 1")
    return rows.join(superseded.select("video_id"), on="video_id", how="left_anti")


def newest_videos(videos: DataFrame) -> DataFrame:
    """The newest row per uri: an older one is of a file that was replaced, or was not complete yet.

    Run ids sort by the time at which the runs began.
    """
    newest = videos.groupBy("uri").agg(F.max_by("video_id", "run_id").alias("video_id"))
    return videos.join(newest.select("video_id"), on="video_id", how="left_semi")


def new_id(began: datetime) -> str:
    """The id of a run that begins at a time: ids sort by these."""
    return f"{began:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


@contextmanager
def locked(output: str, sources: Sources, *, sweep: bool = True) -> Iterator[None]:
    """Lock a local output for one run at a time, and delete what a killed run left; the lock ends with the process.

    At the end the folders of decoding processes that workers keep are deleted as well, and this host's downloads.

    Stores have no locks. There, Delta's commits protect the tables, for one driver or for several by
    `sources.s3_writers`, and media files have the same name in every run.

    Raises:
        OutputBusyError: another run holds it.
    """
    with (
        _lock(output) if media_store.has_locks(output) else nullcontext(),
        http_cache.emptied_at_end() if sweep else nullcontext(),
    ):
        if sweep:
            _sweep(output, sources)
        try:
            yield
        finally:
            if sweep and media_store.has_locks(output):
                media_store.remove_unfinished(f"{output}/media", sources)


def _sweep(output: str, sources: Sources) -> None:
    try:
        media_store.remove_leftovers(output, f"tables/{LANDING}", sources)
    except (MediaError, StoreError) as e:
        log.warning("what killed runs left at %s stays: %s", output, e)


@contextmanager
def _lock(output: str) -> Iterator[None]:
    folder = local_path(output)
    with media_store.output_errors(output):
        os.makedirs(folder, exist_ok=True)
        handle = open_lock_file(os.path.join(folder, places.LOCK))
    try:
        with media_store.output_errors(output):
            is_free = acquire(handle, wait=False)
        if not is_free:
            process = os.pread(handle, 32, 0).decode(errors="replace").strip()
            raise OutputBusyError(f"{output} is in use by another run (process {process or 'unknown'})")
        with media_store.output_errors(output):
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
