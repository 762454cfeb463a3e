"""Record what a stage did in `runs` and `failures`, and count it for the last line of a run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from jobs.config.settings import Settings
from jobs.lake import clock
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import is_stage, settings_text
from jobs.lake.run import Run
from jobs.spark import task_seconds
from schemas import TABLES
from udfs.core import cost, redaction
from udfs.core.bugs import MET_BY
from udfs.core.errors import CODES
from udfs.core.task_resources import Resources
from udfs.core.words import counted
from udfs.runtime.context import COST, FAILURE, GPU_COST

log = logging.getLogger("reelmill")

SHOWN_BUGS, SHOWN_KINDS = 20, 3  # failures logged per wave; kinds of bugs in the last line of a run
DISTRIBUTIONS = (
    "reelmill",
    "pyspark",
    "delta-spark",
    "av",
    "scenedetect-headless",
    "numpy",
    "pyarrow",
    "imagehash",
    "torch",
    "transformers",
)


@dataclass(frozen=True)
class Counts:
    """Inputs, rows written, failures by code, and warnings by column, of a stage or of a whole run."""

    num_in: int = 0
    num_out: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    num_files: int = 0  # of the manifest, without those that are left out
    num_updated: int = 0  # rows written in place of one of the same key

    def __add__(self, other: Counts) -> Counts:
        failed, warnings = self.failed + other.failed, self.warnings + other.warnings
        num_files, num_updated = self.num_files + other.num_files, self.num_updated + other.num_updated
        return Counts(
            self.num_in + other.num_in, self.num_out + other.num_out, failed, warnings, num_files, num_updated
        )

    def __str__(self) -> str:
        if not self:
            return "nothing to do: 0 decoded, 0 rows written"
        codes = ", ".join(f"{code} {count}" for code, count in sorted(self.failed.items()))
        failures = f"{counted(self.failed.total(), 'input')} failed ({codes})" if codes else "nothing failed"
        warnings = "".join(f"; {counted(count, 'row')} with {name}" for name, count in sorted(self.warnings.items()))
        return f"done: {counted(self.num_out, 'row')} written, {failures}{warnings}"

    def __bool__(self) -> bool:
        return bool(self.num_in or self.num_out)


@dataclass(frozen=True)
class Work:
    """What a stage did, as its row of `runs` says it."""

    num_in: int = 0
    num_out: int = 0
    num_failed: int = 0
    started_at: datetime | None = None  # None: it took no time
    cpu_s: float | None = None  # None: the seconds for which Spark's tasks ran since it started
    gpu_s: float | None = None
    media_s: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None


@dataclass(frozen=True)
class Tally:
    """Rows, failures and warnings of a stage's work before they are written, and what the work cost."""

    num_ok: int
    failed: Counter[str]
    warnings: Counter[str]
    cpu_s: float
    gpu_s: float | None  # None without a model
    bytes_out: int
    num_bugs_together: int  # bugs that several inputs met together, and none of them alone


def record(run: Run, stage: str, done: DataFrame, tally: Tally, work: Work, **more: object) -> Counts:
    """Write a stage's failures and its row of `runs`: `work`, with the failures and costs of the tally.

    `more` are other columns of that row.
    """
    if tally.failed:
        run.tables.add("failures", _failures(run, stage, done.where(F.col(FAILURE[0]).isNotNull())))
    if tally.failed or stage == "ingest":
        run.tables.forget()
    if tally.failed["BUG"]:
        for key, _, message in done.where(F.col(FAILURE[1]) == "BUG").select(*FAILURE).limit(SHOWN_BUGS).collect():
            log.error("%s: BUG of %s: %s", stage, key, message)
    if tally.num_bugs_together:
        bug = done.where(F.col(FAILURE[0]).isNull()).agg(F.min(FAILURE[2])).collect()[0][0]
        groups = counted(tally.num_bugs_together, "group")
        log.error("%s: BUG of %s of inputs, which were then done one by one, and took longer: %s", stage, groups, bug)
    failed = tally.failed.total()
    did = replace(work, num_failed=failed, cpu_s=tally.cpu_s, gpu_s=tally.gpu_s, bytes_out=tally.bytes_out)
    note(run, stage, did, **more)
    return Counts(work.num_in, work.num_out, tally.failed, tally.warnings)


def conf(run: Run) -> str:
    """The settings of a run as outputs keep them: in JSON, without secrets by Spark's own rule."""
    return settings_text(run.settings, run.spark.conf.get(redaction.PATTERN, None))


def bugs(run: Run) -> str:
    """The bugs of a run in one line, the most frequent first, each with its type and place."""
    failures = run.tables.read("failures").where((F.col("run_id") == run.run_id) & (F.col("code") == "BUG"))
    kinds = (
        failures.groupBy(F.substring_index("message", MET_BY, 1).alias("kind")).count().orderBy(F.desc("count"), "kind")
    )
    lines = [f"{row['kind']} x {row['count']}" for row in kinds.limit(SHOWN_KINDS).collect()]
    return f"{'; '.join(lines)}; the next run tries their inputs again; `failures` names them"


class Watched(NamedTuple):
    """The results of a stage's work, and what counts them while they are stored."""

    rows: DataFrame
    tally: Callable[[], Tally]  # once the rows have been stored


def watched(done: DataFrame) -> Watched:
    """Count the results of a stage in the pass that stores them."""
    warnings = [name for name in done.columns if name.endswith("_warning")]
    code, counts = F.col(FAILURE[1]), Observation()
    rows = done.observe(
        counts,
        F.count_if(code.isNull()).alias("num_ok"),
        F.count_if(code.isNull() & F.col(FAILURE[2]).isNotNull()).alias("num_bugs_together"),
        *(F.count_if(code == name).alias(name) for name in CODES),
        *(F.count(name).alias(name) for name in warnings),
        F.coalesce(F.sum(COST), F.lit(0.0)).alias("cpu_s"),
        F.sum(GPU_COST).alias("gpu_s"),
        (F.sum("num_bytes") if "num_bytes" in done.columns else F.lit(None).cast("bigint")).alias("bytes_out"),
    )

    def tally() -> Tally:
        sums = counts.get
        return Tally(
            num_ok=sums["num_ok"],
            failed=+Counter({name: sums[name] for name in CODES}),
            warnings=+Counter({name: sums[name] for name in warnings}),
            cpu_s=sums["cpu_s"],
            gpu_s=sums["gpu_s"],
            bytes_out=sums["bytes_out"] or 0,
            num_bugs_together=sums["num_bugs_together"],
        )

    return Watched(rows, tally)


def note(run: Run, stage: str, work: Work, **more: object) -> None:
    """Add a row to `runs`, at once or, within `together`, with the next ones; `more` are other columns of it."""
    started = work.started_at or clock.now()
    cpu_s = task_seconds.tasks_s(run.spark, started) if work.cpu_s is None else work.cpu_s
    gpus = resources_of(stage, run.settings).gpus
    row = asdict(replace(work, started_at=started + run.behind, cpu_s=cpu_s)) | {
        "stage": stage,
        "ended_at": max(clock.now(), started) + run.behind,
        "cost_usd": cost.usd(run.settings.cost, cpu_s, work.gpu_s, gpus) if work.num_in else 0.0,
        "versions": versions(),
        "conf": conf(run),
        "fingerprint": run.fingerprint(stage) if is_stage(stage, run.settings) else "",
        "run_id": run.run_id,
        **more,
    }
    run.last.fingerprints[stage] = row["fingerprint"]
    if stage == "filter":
        run.last.reduction = run.settings.filter.aesthetic_reduction
    run.noted.append(tuple(row.get(name) for name in TABLES["runs"].schema.names))
    if not run.notes_together:
        flush(run)


def flush(run: Run) -> None:
    """Write the rows of `runs` that were noted, in one commit."""
    rows = [run.noted.pop(0) for _ in range(len(run.noted))]
    if rows:
        run.tables.add("runs", run.spark.createDataFrame(rows, struct_type(TABLES["runs"].schema)))


def resources_of(stage: str, settings: Settings) -> Resources:
    """What a task of a stage takes; `align` runs the model of `embed`."""
    params = settings.custom.get(stage) or getattr(settings, {"align": "embed"}.get(stage, stage), None)
    needs: Resources = getattr(params, "resources", Resources())
    return needs


def note_settings(run: Run, *stages: str) -> Counts:
    """Where nothing was pending, add a row to `runs` for each stage whose last run had other settings.

    One without any row did its work in a run that was killed before it noted that.
    """
    for stage in stages:
        if run.last.fingerprints.get(stage) != run.fingerprint(stage):
            note(run, stage, Work())
    return Counts()


def _failures(run: Run, stage: str, failed: DataFrame) -> DataFrame:
    before = (
        run.tables.read("failures")
        .where(F.col("stage") == stage)
        .groupBy("key", "fingerprint")
        .agg(F.max("attempts").alias("tried"))
    )
    keyed = failed.select(
        F.col(FAILURE[0]).alias("key"),
        F.col(FAILURE[1]).alias("code"),
        F.col(FAILURE[2]).alias("message"),
        "fingerprint",
    )
    return keyed.join(before, on=["key", "fingerprint"], how="left").select(
        "key",
        F.lit(stage).alias("stage"),
        "code",
        "message",
        (F.coalesce("tried", F.lit(0)) + 1).cast("int").alias("attempts"),
        F.lit(run.now()).alias("failed_at"),
        "fingerprint",
        F.lit(run.run_id).alias("run_id"),
    )


def versions() -> dict[str, str]:
    """Versions of this code and of the libraries that its results depend on."""
    installed = {}
    for name in DISTRIBUTIONS:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:  # run from a checkout or a zip
            installed[name] = "not installed"
    return installed
