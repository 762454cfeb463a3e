"""filter: clips, videos, signals, aesthetics, duplicates -> verdicts"""

from __future__ import annotations

import logging

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.lake import history
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from udfs.core.words import counted
from udfs.filter import duplicate_sql, gates, reasons_sql

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others


def check(options: Options, settings: Settings) -> None:
    """Refuse an eps above the levels at which dedup has compared every clip that represents others."""
    eps, last = settings.filter.duplicate_eps, max(settings.dedup.levels)
    if settings.filter.duplicates and eps > last:
        raise SettingsError(f"filter.duplicate_eps: {eps:g} is over the last of dedup.levels, {last:g}")


def judged(run: Run) -> DataFrame:
    """A verdict on every current clip. It is SQL only, so that a new threshold costs no decoding."""
    params = run.settings.filter
    signals = run.made("signals").drop("fingerprint", "run_id")
    aesthetic_score = F.col(f"score_{params.aesthetic_reduction}").alias("aesthetic_score")
    aesthetics = run.made("aesthetics").select("clip_id", aesthetic_score)
    scored = accepted(run)
    for scores in (signals, aesthetics, _represented(run)):
        scored = scored.join(scores, on="clip_id", how="left")
    reasons = F.expr(reasons_sql(gates(params), params)).alias("reasons")
    return scored.select("clip_id", "video_id", reasons, "duplicate_of").select(
        "clip_id",
        "video_id",
        (F.size("reasons") == 0).alias("kept"),
        "reasons",
        "duplicate_of",
        F.lit(run.fingerprint("filter")).alias("fingerprint"),
        F.lit(run.run_id).alias("run_id"),
    )


def accepted(run: Run) -> DataFrame:
    """The current clips, with the column `accepted`: whether `filter.where` is true of each.

    Raises:
        SettingsError: the condition is no SQL, or names a column that neither table has.
    """
    clips, videos = run.current("clips").alias("c"), run.rows("videos").alias("v")
    joined = clips.join(videos, on=F.col("c.video_id") == F.col("v.video_id"), how="left")
    try:
        is_accepted = F.expr(f"coalesce(({run.settings.filter.where}), false)").alias("accepted")
        return joined.select("c.clip_id", "c.video_id", "c.width", "c.height", is_accepted)
    except (ParseException, AnalysisException) as e:
        raise SettingsError(f"filter.where: {str(e).splitlines()[0]}") from e


def _represented(run: Run) -> DataFrame:
    """The duplicates at this eps, each with the clip at the end of its chain of links, which is no duplicate."""
    links = _links(run, run.rows("duplicates"))
    if not run.settings.filter.duplicates:
        return links.limit(0)
    every = links if run.part is None else _links(run, run.tables.read("duplicates"))
    while (
        not (further := every.select(F.col("clip_id").alias("linked_to"), F.col("duplicate_of").alias("end")))
        .join(links, on=F.col("linked_to") == F.col("duplicate_of"), how="inner")
        .isEmpty()
    ):
        ended = links.join(further, on=F.col("linked_to") == F.col("duplicate_of"), how="left")
        links = ended.select("clip_id", F.coalesce("end", "duplicate_of").alias("duplicate_of")).localCheckpoint()
        if run.part is None:
            every = links  # so that each turn doubles the length of the chains that are followed
    return links


def _links(run: Run, duplicates: DataFrame) -> DataFrame:
    return duplicates.where(duplicate_sql(run.settings.filter)).select("clip_id", "duplicate_of")


def num_outdated(run: Run) -> int:
    """How many verdicts are missing, or are other ones than the rows say now."""
    columns = ("clip_id", "kept", "reasons", "duplicate_of")
    now, stored = judged(run).select(*columns), run.tables.read("verdicts").select(*columns)
    return now.exceptAll(stored).count()


def run(run: Run, options: Options) -> Counts:
    """Update the verdicts; where none changes, nothing is written."""
    started = history.now()
    verdicts = judged(run).persist()
    log.info("filter: applying the thresholds")
    try:
        [(total, num_kept)] = verdicts.agg(F.count("*"), F.count_if("kept")).collect()
        if run.part is None:
            changed = run.tables.change("verdicts", verdicts)
        else:  # of new clips, which have none
            changed = run.tables.insert("verdicts", verdicts, total) if total else 0
    finally:
        verdicts.unpersist()
    log.info(
        "filter: %s judged in %.1f s, %d kept, %d new or changed",
        *(counted(total, "clip"), history.seconds_since(started), num_kept, changed),
    )
    if not changed:
        return history.note_settings(run, "filter")
    history.note(run, "filter", Work(started_at=started, num_in=total, num_out=changed))
    return Counts(total, changed)


if __name__ == "__main__":
    from jobs.cli import script

    script("filter")
