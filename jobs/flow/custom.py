"""The user's own stages: their steps of the flow, their gates, and what is checked of them before Spark starts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import NoReturn

import sqlglot
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sqlglot import exp
from sqlglot.errors import SqlglotError

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow import gates as built_in
from jobs.flow.stage import Stage
from jobs.lake import views
from jobs.lake.recipes import RECIPES
from jobs.lake.run import Run
from jobs.queries.statement import syntax_fault
from jobs.spark import gpu_check
from schemas import TABLES
from schemas.custom import OURS, SCALARS, is_name, score_name
from schemas.verdicts import FROM_SPANS
from udfs import custom
from udfs.core import user_code
from udfs.core.task_resources import Resources
from udfs.core.words import did_you_mean
from udfs.filter import Gate

SPARK = "spark"  # the dialect of gates
STATEMENTS = (exp.Query, exp.Command, exp.DML, exp.Subquery)  # what a condition must not hold


def stages(settings: Settings) -> tuple[Stage, ...]:
    """A step per stage, in the order of the settings."""
    return tuple(map(stage, settings.custom))


def stage(name: str) -> Stage:
    """The step of one stage."""
    return Stage(
        name,
        table=name,
        key="clip_id",
        source=partial(_inputs, name),
        rows=custom.rows,
        params=partial(_params, name),
        resources=partial(_resources, name),
        duration="duration_s",
        num_bytes="num_bytes",
    )


def _params(name: str, settings: Settings) -> custom.Params:
    return settings.custom[name]


def _resources(name: str, settings: Settings) -> Resources:
    return settings.custom[name].resources


def _inputs(name: str, run: Run) -> DataFrame:
    """The clips that models are asked about; for a function of rows with their spans, addresses and signals."""
    if run.settings.custom[name].input != "row":
        return built_in.inputs(run)
    videos = run.rows("videos").select("video_id", F.col("uri").alias("video_uri"))
    spans = run.made("spans").select("clip_id", *FROM_SPANS)
    clips = built_in.inputs_with_signals(run).drop("cpu_s")
    return clips.join(spans, on="clip_id", how="left").join(videos, on="video_id", how="left")


def gates(settings: Settings) -> list[Gate]:
    """The gates of these stages, each with the name of its stage for a reason."""
    return [_gate(name, params) for name, params in settings.custom.items() if params.gate is not None]


def _gate(name: str, params: custom.Params) -> Gate:
    """A gate in the columns of `verdicts`.

    Raises:
        SettingsError: it is no condition, or is on a column that is not there.
    """

    def refuse(message: str) -> NoReturn:
        raise SettingsError(f"custom.{name}.gate: {message}")

    try:
        [condition] = sqlglot.parse(params.gate or "", dialect=SPARK)
    except (SqlglotError, ValueError) as e:
        refuse(_fault(e, params.gate or "", params.columns))
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


def check_conditions(run: Run) -> None:
    """Show Spark the conditions of these stages before it processes a clip.

    Raises:
        SettingsError: one has an unknown function, say, or is no condition.
    """
    verdicts = run.tables.none("verdicts")
    for name, params in run.settings.custom.items():
        if params.gate is not None:
            _check_condition(f"custom.{name}.gate", verdicts, _gate(name, params).fails)
        for of_check, condition in params.checks.items():
            _check_condition(f"custom.{name}.checks.{of_check}", run.tables.none(name), condition)


def _check_condition(setting: str, rows: DataFrame, condition: str) -> None:
    try:
        rows.where(F.expr(condition))
    except (ParseException, AnalysisException) as e:
        raise SettingsError(f"{setting}: {str(e).splitlines()[0]}") from e


def check(settings: Settings) -> None:
    """Find before Spark starts what is wrong with stages of the user's own.

    Raises:
        SettingsError: one line that names the setting.
    """
    ours = {table.name for table in TABLES.values() if not table.is_custom}
    taken = {*ours, *(f"current_{name}" for name in ours), *RECIPES, *(view.name for view in views.VIEWS)}
    scores: dict[str, str] = {}  # the stage of each column of `verdicts`
    for name, params in settings.custom.items():
        _check_names(name, params, taken)
        for column in params.columns:
            if (other := scores.setdefault(score_name(name, column), name)) != name:
                both = f"custom.{other} gives verdicts a column {score_name(name, column)}, too"
                raise SettingsError(f"custom.{name}.columns: {column}: {both}")
        for setting, arguments in custom.arguments(params).items():
            try:
                user_code.check(getattr(params, setting), arguments)
            except user_code.UserCodeError as e:
                raise SettingsError(f"custom.{name}.{setting}: {e}") from e
        if params.decode and params.input != "clip":
            raise SettingsError(f"custom.{name}.decode: only a stage whose input is a clip has one")
        if params.load and params.input == "clip" and not params.decode:
            raise SettingsError(
                f"custom.{name}.load: a model gets what custom.{name}.decode makes of a clip: set that too"
            )
        device = settings.models.device if params.load else "auto"
        gpu_check.check(f"custom.{name}", params.resources, device, settings.spark)
    gates(settings)


def _check_names(name: str, params: custom.Params, taken: set[str]) -> None:
    if name in taken:
        raise SettingsError(f"custom.{name}: {name} is a table, view or stage already")
    there = {*TABLES["verdicts"].schema.names}
    for column in params.columns:
        if not is_name(column):
            raise SettingsError(f"custom.{name}.columns: {column} is no name of a-z, 0-9 and _")
        if column in OURS:
            raise SettingsError(f"custom.{name}.columns: {column} is there by itself")
        if score_name(name, column) in there:
            raise SettingsError(f"custom.{name}.columns: verdicts has a column {score_name(name, column)} already")
    for column in params.comments:
        if column not in params.columns:
            raise SettingsError(f"custom.{name}.comments: no column {column}{did_you_mean(column, [*params.columns])}")
    for of_check, condition in params.checks.items():
        try:
            sqlglot.parse_one(condition, dialect=SPARK)
        except SqlglotError as e:
            fault = _fault(e, condition, params.columns)
            raise SettingsError(f"custom.{name}.checks.{of_check}: {fault}") from e


def _fault(error: SqlglotError | ValueError, condition: str, columns: Iterable[str]) -> str:
    """What is wrong with a condition that cannot be read, and the column in it that needs backquotes, if one does."""
    fault = syntax_fault(error) if isinstance(error, SqlglotError) else str(error).splitlines()[0]
    unquoted = [name for name in columns if re.search(rf"(?<!`)\b{name}\b(?!`)", condition)]
    hints = (f"; {name} is a word of SQL: write `{name}`" for name in unquoted if not _is_plain(name))
    return fault + next(hints, "")


def _is_plain(name: str) -> bool:
    """Whether a name stands for a column without backquotes."""
    try:
        return isinstance(sqlglot.parse_one(f"{name} > 1", dialect=SPARK).this, exp.Column)
    except SqlglotError:
        return False
