"""Which clips fail a gate on what models found, and which copies they do not stand for.

A copy by hashes has no scores. Where the clip that it is a copy of fails such a gate, the copy may
pass it: models are asked about it, and it stands for itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.settings import Settings
from jobs.flow import custom_gates, stage
from jobs.lake import lookup, scores
from jobs.lake.run import Run
from udfs.filter import OF_SIGNALS, Gate, Params, aesthetic_gate, reasons_sql

EARLIER: dict[str, Any] = {"duplicates": False} | {
    of.switch: False for of in OF_SIGNALS
}  # gates that were applied before


def failing(run: Run, *, were_asked: bool = False) -> DataFrame | None:
    """The clips (clip_id) that fail such a gate; None where none is on.

    With `filter.unscored = "drop"` a clip without a score fails, too, once its stage has given it
    up, or where models `were_asked` about all clips.
    """
    gates, params = _by_stage(run.settings), run.settings.filter
    if not gates:
        return None
    rows = _scored(scores.before_dedup(run, _columns(run.settings)), params)
    if were_asked or params.unscored == "keep":
        return _failing(rows, gates, params)
    found = _failing(rows, gates, replace(params, unscored="keep"))
    for name, gate in gates.items():
        if run.holds("failures") and name in run.tables.failed:
            given_up = stage.given_up(run, name).select(F.col("key").alias("clip_id"))
            unscored = rows.where(F.col(gate.score).isNull()).select("clip_id")
            found = found.union(unscored.join(given_up, on="clip_id", how="left_semi"))
    return found.distinct()


def failing_verdicts(run: Run, clips: DataFrame) -> DataFrame | None:
    """Of some clips (clip_id) those that fail such a gate by their scores in `verdicts`; None where none is on."""
    gates, params = _by_stage(run.settings), run.settings.filter
    if not gates:
        return None
    [rows] = lookup.of_clips(run, clips, run.tables.read("verdicts"))
    return _failing(_scored(rows, params), gates, params)


def valid(run: Run, copies: DataFrame) -> DataFrame:
    """The copies whose kept clip fails no such gate."""
    found = failing(run)
    return copies if found is None else copies.join(_as_copy_of(found), on="copy_of", how="left_anti")


def orphans(run: Run) -> DataFrame | None:
    """The copies (clip_id) whose kept clip fails such a gate; None where none is on."""
    found = failing(run) if run.holds("copies") else None
    if found is None:
        return None
    return run.made("copies").join(_as_copy_of(found), on="copy_of", how="left_semi").select("clip_id")


def _as_copy_of(kept: DataFrame) -> DataFrame:
    return kept.select(F.col("clip_id").alias("copy_of"))


def _by_stage(settings: Settings) -> dict[str, Gate]:
    """The gates by the stage whose scores they are on."""
    aesthetic = aesthetic_gate(settings.filter)
    own = {gate.reason: gate for gate in custom_gates.gates(settings)}
    return ({"aesthetic": aesthetic} if aesthetic else {}) | own


def _columns(settings: Settings) -> set[str]:
    """The columns of `verdicts` that the gates are on."""
    own = map(custom_gates.columns_of, custom_gates.gates(settings))
    return set[str]({_aesthetic(settings.filter)} if settings.filter.aesthetic else ()).union(*own)


def _aesthetic(params: Params) -> str:
    return f"aesthetic_score_{params.aesthetic_reduction}"


def _scored(rows: DataFrame, params: Params) -> DataFrame:
    """The rows with the columns that gates name."""
    return rows.withColumn("aesthetic_score", F.col(_aesthetic(params))) if params.aesthetic else rows


def _failing(rows: DataFrame, gates: dict[str, Gate], params: Params) -> DataFrame:
    reasons = reasons_sql([*gates.values()], replace(params, **EARLIER))
    return rows.where(F.size(F.expr(reasons)) > 0).select("clip_id")
