"""filter: videos, spans, clips, signals, aesthetics, embeddings, duplicates, captions, labels -> verdicts"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial, reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow import conditions, custom, custom_gates
from jobs.flow.steps import step
from jobs.lake import clock, custom_tables, history, lookup, scores
from jobs.lake.history import Counts, Work
from jobs.lake.landing import landed
from jobs.lake.run import Run
from jobs.lake.scores import OF_VERDICT
from jobs.spark import session
from schemas import TABLES
from udfs.core.errors import RunError
from udfs.core.words import counted
from udfs.filter import DUPLICATE, Gate, duplicate_sql, gates, reasons_sql, signal_gates, where_gate

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others
LINK = "clip_id string, duplicate_of string"
VERDICT = ("kept", "reasons", "duplicate_of")
MAX_LINKS = 20  # in a chain, which gets one more at most at each of dedup.levels
MANY_LINKS = 3_000_000  # of which a worker holds some 200 bytes each
MANY = 0.1  # share of verdicts, from which on all rows are written again: none has to be found then


def check(options: Options, settings: Settings) -> None:
    """Refuse an eps above the levels at which dedup has compared every clip that represents others."""
    eps, last = settings.filter.duplicate_eps, max(settings.dedup.levels)
    if settings.filter.duplicates and eps > last:
        raise SettingsError(f"filter.duplicate_eps: {eps:g} is over the last of dedup.levels, {last:g}")
    custom.check(settings)


def judged(run: Run, scored: DataFrame) -> DataFrame:
    """A verdict on every row of `scores.gathered`. It is SQL only, so that a new threshold costs no decoding."""
    params = run.settings.filter
    if where_gate(params):
        scored = scored.join(conditions.accepted(run), on="clip_id", how="left")
    rows = scored.withColumn("aesthetic_score", F.col(f"aesthetic_score_{params.aesthetic_reduction}"))
    links = _represented(run)
    rows = rows.join(_sent(links) if run.part is None else links, on="clip_id", how="left")
    every, first = [*gates(params), *custom_gates.gates(run.settings)], signal_gates(params)
    rows = rows.withColumn("reasons", F.expr(reasons_sql(every, params)))
    if run.part is None and params.duplicates and every:
        rows = _with_stand_ins(rows, [gate for gate in every if gate not in first])
    stamp = {"fingerprint": F.lit(run.fingerprint("filter")), "run_id": F.lit(run.run_id)}
    return rows.withColumns({"kept": F.size("reasons") == 0, **stamp})


def _with_stand_ins(rows: DataFrame, later: list[Gate]) -> DataFrame:
    """The rows, in which each group of duplicates is represented by a clip that passes every gate, if it has one.

    `dedup` links no clip to one that fails a gate. It has not seen thresholds that are newer, and
    what stages after it find. There the most similar duplicate that passes takes the place of a clip
    that fails. A copy by hashes without the score of a `later` gate is not known to pass.
    """
    fails = F.exists("reasons", lambda reason: reason != DUPLICATE)
    unscored = reduce(Column.__or__, (F.col(gate.score).isNull() for gate in later), F.lit(False))
    passes = ~fails & ~(F.col("link_method").eqNullSafe("phash") & unscored)
    clips = rows.select("clip_id", "duplicate_of", "similarity", fails.alias("fails"), passes.alias("passes"))
    passing = clips.where("passes AND duplicate_of IS NOT NULL").drop("fails", "passes").localCheckpoint()
    failing = clips.where("fails AND duplicate_of IS NULL").select(F.col("clip_id").alias("duplicate_of"))
    failing = failing.join(_sent(passing.select("duplicate_of")), on="duplicate_of", how="left_semi")
    nearest = F.max_by("clip_id", F.struct("similarity", "clip_id")).alias("stand_in")
    stand_ins = passing.join(failing, on="duplicate_of", how="left_semi").groupBy("duplicate_of").agg(nearest)
    stand_ins = stand_ins.localCheckpoint()
    if stand_ins.isEmpty():
        return rows
    rows = rows.withColumn("group", F.coalesce("duplicate_of", "clip_id"))
    rows = rows.join(_sent(stand_ins.toDF("group", "stand_in")), on="group", how="left")
    is_one = F.col("stand_in").eqNullSafe(F.col("clip_id"))
    other = F.when(F.col("duplicate_of").isNotNull(), F.coalesce("stand_in", "duplicate_of"))
    reasons = F.when(is_one, F.array_remove("reasons", DUPLICATE)).otherwise(F.col("reasons"))
    return rows.withColumns({"duplicate_of": F.when(~is_one, other), "reasons": reasons}).drop("group", "stand_in")


def _represented(run: Run) -> DataFrame:
    """The duplicates at this eps, each with the clip at the end of its chain of links, which is no duplicate.

    Raises:
        RunError: a chain has no end.
    """
    none = run.spark.createDataFrame([], LINK)
    if not run.settings.filter.duplicates:
        return none
    links = _links(run, run.rows("duplicates"))
    if links.isEmpty():
        return none
    every = links if run.part is None else _links(run, run.tables.read("duplicates"))
    for _ in range(MAX_LINKS):
        further = every
        if run.part is not None:
            [further] = lookup.of_clips(run, links.select(F.col("duplicate_of").alias("clip_id")), every)
        further = further.toDF("linked_to", "end")
        if links.join(further, on=F.col("linked_to") == F.col("duplicate_of"), how="inner").isEmpty():
            return links
        ended = links.join(further, on=F.col("linked_to") == F.col("duplicate_of"), how="left")
        links = ended.select("clip_id", F.coalesce("end", "duplicate_of").alias("duplicate_of")).localCheckpoint()
        if run.part is None:
            every = links  # so that each turn doubles the length of the chains that are followed
    raise RunError(
        f"filter: links of duplicates lead in a circle; {run.command('dedup')} --refit links all clips again"
    )


def _sent(links: DataFrame) -> DataFrame:
    """Links that each worker gets as a whole, unless they are very many: else all columns of all clips were sorted."""
    return F.broadcast(links) if links.count() <= MANY_LINKS else links


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
    before = None
    if not run.is_only_writer:  # the verdicts of another run on clips that it has just cut are not in sight
        before = run.store(stack, "judged-before", run.tables.read("verdicts").select("clip_id", "run_id"))
    rows = judged(run, scores.gathered(run)).select(*TABLES["verdicts"].schema.names)
    rows, num = landed(partial(run.store, stack), "filter", rows, all=F.count("*"), kept=F.count_if("kept"))
    if run.part is None:
        return num["all"], num["kept"], run.tables.change("verdicts", rows, before)
    changed = run.tables.insert("verdicts", rows, num["all"]) if num["all"] else 0  # of new clips, which have none
    return num["all"], num["kept"], changed


def _judge_stored(run: Run, stack: ExitStack) -> tuple[int, int, int]:
    """Judge all clips by what their verdicts say of them: how many there are, are kept, and were changed."""
    stored, names = run.tables.read("verdicts"), TABLES["verdicts"].schema.names
    rows = judged(run, stored.withColumn("old", F.struct(*OF_VERDICT)).drop(*OF_VERDICT))
    differs = F.expr(" OR ".join(f"NOT (old.{name} <=> {name})" for name in VERDICT))
    counts = {"all": F.count("*"), "kept": F.count_if("kept"), "changed": F.count_if(differs)}

    def store_changed(name: str, every: DataFrame) -> DataFrame:
        return run.store(stack, name, every.where(differs).select("clip_id", *OF_VERDICT))

    changed, num = landed(store_changed, "filter", rows, **counts)
    if num["changed"] > MANY * num["all"]:
        by = {name: F.when(differs, F.col(name)).otherwise(F.col(f"old.{name}")) for name in OF_VERDICT}
        run.tables.replace("verdicts", rows.withColumns(by).select(*names))
    elif num["changed"]:
        run.tables.update("verdicts", changed)
    return num["all"], num["kept"], num["changed"]


if __name__ == "__main__":
    from jobs.cli import script

    script("filter")
