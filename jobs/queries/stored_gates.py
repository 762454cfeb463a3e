"""The gates of `filter` by the settings of its last run: built-in ones and the user's own, on or off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from jobs.queries import gate_settings
from jobs.queries.gate_settings import GateSettings
from jobs.queries.reader import Rows, first
from jobs.queries.spark_dialect import SPARK
from schemas.custom import score_name
from udfs import filter
from udfs.filter import Threshold

# The comparisons of a condition to pass, and for each sign the one of the condition to fail.
SIGNS: dict[type[exp.Expr], str] = {exp.GTE: ">=", exp.GT: ">", exp.LTE: "<=", exp.LT: "<"}
FAILING = {">=": "<", ">": "<=", "<=": ">", "<": ">="}


class Comparison(NamedTuple):
    """A condition to pass that compares a column with a number."""

    column: str
    sign: str
    number: float


class Limit(NamedTuple):
    """A number per clip, in SQL, and from which value on and on which side (<, <=, > or >=) a gate drops clips."""

    value: str
    sign: str
    threshold: float


class StoredGate(NamedTuple):
    """A gate on the columns of `verdicts`."""

    reason: str
    score: str
    column: str  # of `verdicts`, with the score
    fails: str | None  # the condition to fail, in Spark's SQL; None of one on columns of other tables
    shown: str  # the same for people
    is_on: bool
    switch: str  # the setting that turns it on
    limit: Limit | None = None  # None of one that does not compare a number with a threshold

    def has_failed(self, verdict: Mapping[str, Any]) -> bool:
        """Whether a clip failed it, by its verdict."""
        return not {self.reason, f"{self.score}_missing"}.isdisjoint(verdict["reasons"] or [])


def settings(rows: Rows) -> GateSettings:
    """The settings of the last run of `filter`; the defaults before its first one."""
    row = first(rows(gate_settings.QUERY))
    return gate_settings.read(row["conf"] if row else None)


def gates(settings: GateSettings) -> list[StoredGate]:
    """The gates of `filter`, those that are off included, then those of the user's own stages."""
    params = settings.filter
    found = [_of_threshold(threshold, params) for threshold in (*filter.OF_SIGNALS, filter.AESTHETIC)]
    if where := filter.where_gate(params):
        shown = f"NOT ({params.where})"
        found.append(StoredGate(where.reason, where.score, where.score, None, shown, True, "filter.where"))
    return [*found, _duplicate(params), *_own(settings.custom)]


def comparison(condition: str) -> Comparison | None:
    """A condition such as `sharpness >= 2`; None of any other."""
    try:
        tree = sqlglot.parse_one(condition, dialect=SPARK) if condition else None
        if tree is None or type(tree) not in SIGNS or not isinstance(tree.this, exp.Column):
            return None
        return Comparison(tree.this.name, SIGNS[type(tree)], float(tree.expression.sql(SPARK)))
    except (SqlglotError, ValueError):
        return None


def _of_threshold(of: Threshold, params: filter.Params) -> StoredGate:
    column = f"{of.score}_{params.aesthetic_reduction}" if of == filter.AESTHETIC else of.score
    value, fails = of.value.replace(of.score, column), of.gate(params).fails
    limit = Limit(value, of.sign, getattr(params, of.setting))
    is_on, switch = getattr(params, of.switch), f"filter.{of.switch}"
    in_columns, shown = fails.replace(of.score, column), fails.removesuffix("D")
    return StoredGate(of.reason, of.score, column, in_columns, shown, is_on, switch, limit)


def _duplicate(params: filter.Params) -> StoredGate:
    score, least = "similarity", 1 - params.duplicate_eps
    fails = f"link_method = 'phash' OR similarity >= {filter.least_similarity(params)}"
    shown = f"method is phash, or similarity >= {least:g}"
    limit = Limit(score, ">=", least)
    return StoredGate("duplicate", score, score, fails, shown, params.duplicates, "filter.duplicates", limit)


def _own(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[StoredGate]:
    """The gates of [custom.NAME] sections, each with the first of its columns that the condition names."""
    for name, section in stages.items():
        own = {key: score_name(name, key) for key in section.get("columns", {})}
        gate = section.get("gate") or ""
        condition = _in_columns(gate, own)
        named = [column.name for column in condition.find_all(exp.Column)] if condition else []
        score = next((name for name in named if name in own.values()), None)
        if condition is not None and score is not None:
            fails, compared = f"NOT ({condition.sql(SPARK)})", comparison(gate)
            limit = compared and Limit(own[compared.column], FAILING[compared.sign], compared.number)
            yield StoredGate(name, score, score, fails, f"NOT ({gate})", True, f"custom.{name}.gate", limit)


def _in_columns(gate: str, own: Mapping[str, str]) -> exp.Expr | None:
    """A condition in the columns of `verdicts`; None if it is none."""
    try:
        condition = sqlglot.parse_one(gate, dialect=SPARK)
    except (SqlglotError, ValueError):
        return None
    for column in condition.find_all(exp.Column):
        if column.name in own:
            column.this.set("this", own[column.name])
    return condition
