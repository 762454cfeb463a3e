"""The gates of the user's own stages, as conditions on the columns of `verdicts`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.queries.spark_dialect import SPARK
from jobs.queries.statement import syntax_fault
from schemas import TABLES
from schemas.custom import SCALARS, score_name
from udfs import custom
from udfs.core.words import did_you_mean
from udfs.filter import Gate

STATEMENTS = (exp.Query, exp.Command, exp.DML, exp.Subquery)  # what a condition must not hold


def gates(settings: Settings) -> list[Gate]:
    """The gates of these stages, each with the name of its stage for a reason."""
    return [gate_of(name, params) for name, params in settings.custom.items() if params.gate is not None]


def gate_of(name: str, params: custom.Params) -> Gate:
    """A gate in the columns of `verdicts`.

    Raises:
        SettingsError: it is no condition, or is on a column that is not there.
    """

    def refuse(message: str) -> NoReturn:
        raise SettingsError(f"custom.{name}.gate: {message}")

    try:
        [condition] = sqlglot.parse(params.gate or "", dialect=SPARK)
    except (SqlglotError, ValueError) as e:
        refuse(fault(e, params.gate or "", params.columns))
    if condition is None or isinstance(condition, STATEMENTS) or condition.find(*STATEMENTS):
        refuse("write a condition on columns, such as sharpness >= 0.4")
    own = {key: score_name(name, key) for key, type_ in params.columns.items() if type_ in SCALARS}
    known = [*own, *TABLES["verdicts"].schema.names]
    scores = []
    for column in condition.find_all(exp.Column):
        if column.table or column.name not in known:
            refuse(f"no column {column.sql(SPARK)}{did_you_mean(column.name, known)}")
        if column.name in own:
            scores.append(own[column.name])
            column.this.set("this", own[column.name])
    if not scores:
        refuse(f"it is on none of the stage's own columns, which are {', '.join(own)}")
    return Gate(name, scores[0], f"NOT ({condition.sql(SPARK)})")


def columns_of(gate: Gate) -> set[str]:
    """The columns that the condition of a gate is on."""
    return {column.name for column in sqlglot.parse_one(gate.fails, dialect=SPARK).find_all(exp.Column)}


def fault(error: SqlglotError | ValueError, condition: str, columns: Iterable[str]) -> str:
    """What is wrong with a condition that cannot be read, and the column in it that needs backquotes, if one does."""
    found = syntax_fault(error) if isinstance(error, SqlglotError) else str(error).splitlines()[0]
    unquoted = [name for name in columns if re.search(rf"(?<!`)\b{name}\b(?!`)", condition)]
    hints = (f"; {name} is a word of SQL: write `{name}`" for name in unquoted if not _is_plain(name))
    return found + next(hints, "")


def _is_plain(name: str) -> bool:
    """Whether a name stands for a column without backquotes."""
    try:
        return isinstance(sqlglot.parse_one(f"{name} > 1", dialect=SPARK).this, exp.Column)
    except SqlglotError:
        return False
