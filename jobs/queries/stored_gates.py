"""The gates of `filter` by the settings of its last run: built-in ones and the user's own, on or off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import sqlglot
from pydantic import TypeAdapter, ValidationError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from jobs.queries.reader import Row, Rows, first
from schemas.custom import score_name
from udfs import filter

SETTINGS = "SELECT conf FROM runs WHERE stage = 'filter' ORDER BY started_at DESC LIMIT 1"
SPARK = "spark"  # the dialect of gates
# The setting that turns a gate on, by the gate's reason.
SWITCHES = {
    "motion_global_mean_low": "filter.motion",
    "motion_patch_min_low": "filter.motion",
    "black": "filter.black",
    "frozen": "filter.frozen",
    "blurred": "filter.blurred",
    "letterboxed": "filter.letterboxed",
    "aesthetic_low": "filter.aesthetic",
    "where": "filter.where",
    "duplicate": "filter.duplicates",
}
LIMIT = re.compile(r"(?P<value>.+) (?P<sign>[<>]) (?P<threshold>\S+)D")  # how built-in gates say when a clip fails
# On which side a clip fails the user's own condition.
FAILING: dict[type[exp.Expr], str] = {exp.GT: "<=", exp.GTE: "<", exp.LT: ">=", exp.LTE: ">"}


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


def settings(rows: Rows) -> Row:
    """The settings of the last run of `filter`; empty before its first one."""
    row = first(rows(SETTINGS))
    found: Row = json.loads((row and row["conf"]) or "{}")
    return found


def params(settings: Row) -> filter.Params:
    """[filter] of these settings, as far as this release knows them."""
    known = {field.name for field in fields(filter.Params)}
    given = {key: value for key, value in settings.get("filter", {}).items() if key in known}
    try:
        return TypeAdapter(filter.Params).validate_python(given)
    except ValidationError:  # of a release with other bounds
        return filter.Params()


def gates(settings: Row) -> list[StoredGate]:
    """The gates of `filter`, those that are off included, then those of the user's own stages."""
    return [*_built_in(params(settings)), *_own(settings.get("custom", {}))]


def _built_in(params: filter.Params) -> Iterator[StoredGate]:
    switches: dict[str, Any] = {f.name: True for f in fields(params) if getattr(params, f.name) is False}
    on = {gate.reason for gate in filter.gates(params)}
    for reason, score, fails in filter.gates(replace(params, **switches)):
        shown = f"NOT ({params.where})" if reason == "where" else fails.removesuffix("D")
        column = f"{score}_{params.aesthetic_reduction}" if score == "aesthetic_score" else score
        in_columns = None if reason == "where" else fails.replace(score, column)
        limit = _limit(in_columns) if in_columns else None
        yield StoredGate(reason, score, column, in_columns, shown, reason in on, SWITCHES[reason], limit)
    yield _duplicate(params)


def _duplicate(params: filter.Params) -> StoredGate:
    score, least = "similarity", 1 - params.duplicate_eps
    fails = f"link_method = 'phash' OR similarity >= {filter.least_similarity(params)}"
    shown = f"method is phash, or similarity >= {least:g}"
    limit = Limit(score, ">=", least)
    return StoredGate("duplicate", score, score, fails, shown, params.duplicates, SWITCHES["duplicate"], limit)


def _limit(fails: str) -> Limit | None:
    match = LIMIT.fullmatch(fails)
    return Limit(match["value"], match["sign"], float(match["threshold"])) if match else None


def _own(stages: Mapping[str, Row]) -> Iterator[StoredGate]:
    """The gates of [custom.NAME] sections, each with the first of its columns that the condition names."""
    for name, section in stages.items():
        own = {key: score_name(name, key) for key in section.get("columns", {})}
        condition = _in_columns(section.get("gate") or "", own)
        named = [column.name for column in condition.find_all(exp.Column)] if condition else []
        score = next((name for name in named if name in own.values()), None)
        if condition is not None and score is not None:
            fails, shown = f"NOT ({condition.sql(SPARK)})", f"NOT ({section['gate']})"
            yield StoredGate(name, score, score, fails, shown, True, f"custom.{name}.gate", _own_limit(condition))


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


def _own_limit(condition: exp.Expr) -> Limit | None:
    sign = FAILING.get(type(condition))
    if sign is None or not isinstance(condition.this, exp.Column) or not condition.expression.is_number:
        return None
    return Limit(condition.this.name, sign, float(condition.expression.to_py()))
