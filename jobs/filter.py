"""filter: videos, spans, clips, signals, aesthetics, embeddings, duplicates, captions, labels -> verdicts"""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack
from functools import partial

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow import custom
from jobs.flow.steps import step
from jobs.lake import clock, custom_tables, history, scores
from jobs.lake.history import Counts, Work
from jobs.lake.landing import landed
from jobs.lake.run import Run
from jobs.lake.scores import OF_VERDICT
from jobs.spark import session
from schemas import TABLES
from udfs.core.words import counted
from udfs.filter import duplicate_sql, gates, reasons_sql, where_gate

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others
LABELS = re.compile(r"\blabels\b")  # in a condition
LINK = "clip_id string, duplicate_of string"
VERDICT = ("kept", "reasons", "duplicate_of")
MANY = 0.1  # share of verdicts, from which on all rows are written again: none has to be found then


def check(options: Options, settings: Settings) -> None:
    """Refuse an eps above the levels at which dedup has compared every clip that represents others."""
    eps, last = settings.filter.duplicate_eps, max(settings.dedup.levels)
    if settings.filter.duplicates and eps > last:
        raise SettingsError(f"filter.duplicate_eps: {eps:g} is over the last of dedup.levels, {last:g}")
    custom.check(settings)


def asks_labels(settings: Settings) -> bool:
    """Whether verdicts depend on what people called clips."""
    return LABELS.search(settings.filter.where) is not None


def accepted(run: Run) -> DataFrame:
    """The current clips, with the column `accepted`: whether `filter.where` is true of each.

    The condition is on c (the clip), v (its video) and l (with `labels`, an array of what people called the clip).

    Raises:
        SettingsError: the condition is no SQL, or names a column that none of them has.
    """
    clips, videos = run.current("clips").alias("c"), run.rows("videos").alias("v")
    joined = clips.join(videos, on=F.col("c.video_id") == F.col("v.video_id"), how="left")
    if asks_labels(run.settings):
        joined = joined.join(_labels(run, clips).alias("l"), on=F.col("c.clip_id") == F.col("l.of_clip"), how="left")
    try:
        is_accepted = F.expr(f"coalesce(({run.settings.filter.where}), false)").alias("accepted")
        return joined.select("c.clip_id", is_accepted)
    except (ParseException, AnalysisException) as e:
        raise SettingsError(f"filter.where: {str(e).splitlines()[0]}") from e


def _labels(run: Run, clips: DataFrame) -> DataFrame:
    """Every clip (`of_clip`) with its `labels`; an empty array where no one gave it any."""
    given = run.tables.read("labels").groupBy("clip_id").agg(F.array_sort(F.collect_set("label")).alias("labels"))
    every = clips.select("clip_id").join(given, on="clip_id", how="left")
    none = F.array().cast("array<string>")
    return every.select(F.col("clip_id").alias("of_clip"), F.coalesce("labels", none).alias("labels"))


def judged(run: Run, scored: DataFrame) -> DataFrame:
    """A verdict on every row of `scores.gathered`. It is SQL only, so that a new threshold costs no decoding."""
    params = run.settings.filter
    if where_gate(params):
        scored = scored.join(accepted(run), on="clip_id", how="left")
    rows = scored.withColumn("aesthetic_score", F.col(f"aesthetic_score_{params.aesthetic_reduction}"))
    rows = rows.join(_represented(run), on="clip_id", how="left")
    every = [*gates(params), *custom.gates(run.settings)]
    rows = rows.withColumn("reasons", F.expr(reasons_sql(every, params)))
    stamp = {"fingerprint": F.lit(run.fingerprint("filter")), "run_id": F.lit(run.run_id)}
    return rows.withColumns({"kept": F.size("reasons") == 0, **stamp})


def _represented(run: Run) -> DataFrame:
    """The duplicates at this eps, each with the clip at the end of its chain of links, which is no duplicate."""
    none = run.spark.createDataFrame([], LINK)
    if not run.settings.filter.duplicates:
        return none
    links = _links(run, run.rows("duplicates"))
    if links.isEmpty():
        return none
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
    columns = TABLES["verdicts"].stage_columns
    now, stored = judged(run, scores.gathered(run)).select(*columns), run.tables.read("verdicts").select(*columns)
    return now.exceptAll(stored).count()


def run(run: Run, options: Options) -> Counts:
    """Update the verdicts; where none changes, nothing is written."""
    started = clock.now()
    log.info("filter: applying the thresholds")
    if run.part is None:
        custom.check_conditions(run)
    custom_tables.make(run)
    with ExitStack() as stack:
        stack.enter_context(step(run, "filter"))
        if run.part is None:
            stack.enter_context(session.compiled(run.spark, run.last.num_verdicts))
        if run.part is None and run.is_only_writer and scores.are_stored(run):
            total, num_kept, changed = _judge_stored(run, stack)
        else:
            total, num_kept, changed = _judge_gathered(run, stack)
    log.info(
        "filter: %s judged in %.1f s, %d kept, %d new or changed",
        *(counted(total, "clip"), clock.seconds_since(started), num_kept, changed),
    )
    # Else another run may have written in between.
    run.last.scored = scores.scored(run) if run.is_only_writer else None
    if not changed:
        return history.note_settings(run, "filter")
    known = run.last.scored.as_columns() if run.last.scored else {}
    history.note(run, "filter", Work(started_at=started, num_in=total, num_out=changed), **known)
    return Counts(total, changed)


def add_captions(run: Run) -> None:
    """Add the captions that this run wrote to the verdicts on their clips."""
    run.tables.update("verdicts", scores.captions(run.of_this_run().rows("captions")))


def _judge_gathered(run: Run, stack: ExitStack) -> tuple[int, int, int]:
    """Judge clips by what the tables of the stages say: how many there are, are kept, and were changed."""
    rows = judged(run, scores.gathered(run)).select(*TABLES["verdicts"].schema.names)
    rows, num = landed(partial(run.store, stack), "filter", rows, all=F.count("*"), kept=F.count_if("kept"))
    if run.part is None:
        return num["all"], num["kept"], run.tables.change("verdicts", rows)
    changed = run.tables.insert("verdicts", rows, num["all"]) if num["all"] else 0  # of new clips, which have none
    return num["all"], num["kept"], changed


def _judge_stored(run: Run, stack: ExitStack) -> tuple[int, int, int]:
    """Judge all clips by what their verdicts say of them: how many there are, are kept, and were changed."""
    stored, names = run.tables.read("verdicts"), TABLES["verdicts"].schema.names
    rows = judged(run, stored.withColumn("old", F.struct(*OF_VERDICT)).drop(*OF_VERDICT))
    differs = F.expr(" OR ".join(f"NOT (old.{name} <=> {name})" for name in VERDICT))
    counts = {"all": F.count("*"), "kept": F.count_if("kept"), "changed": F.count_if(differs)}

    def store_changed(name: str, every: DataFrame) -> DataFrame:
        return run.store(stack, name, every.where(differs).select(*names))

    changed, num = landed(store_changed, "filter", rows, **counts)
    if num["changed"] > MANY * num["all"]:
        by = {name: F.when(differs, F.col(name)).otherwise(F.col(f"old.{name}")) for name in OF_VERDICT}
        run.tables.replace("verdicts", rows.withColumns(by).select(*names))
    elif num["changed"]:
        run.tables.upsert("verdicts", changed, num["changed"])
    return num["all"], num["kept"], num["changed"]


if __name__ == "__main__":
    from jobs.cli import script

    script("filter")
