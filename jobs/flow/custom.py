"""The user's own stages: their steps of the flow, and what is checked of them before Spark starts."""

from __future__ import annotations

from functools import partial

import sqlglot
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from sqlglot.errors import SqlglotError

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow import custom_gates
from jobs.flow import gates as built_in
from jobs.flow.stage import Stage
from jobs.lake import views
from jobs.lake.recipes import RECIPES
from jobs.lake.run import Run
from jobs.queries.spark_dialect import SPARK
from jobs.spark import gpu_check
from schemas import TABLES
from schemas.custom import OURS, is_name, score_name
from schemas.verdicts import FROM_SPANS
from udfs import custom
from udfs.core import user_code
from udfs.core.task_resources import Resources
from udfs.core.words import did_you_mean


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


def check_conditions(run: Run) -> None:
    """Show Spark the conditions of these stages before it processes a clip.

    Raises:
        SettingsError: one has an unknown function, say, or is no condition.
    """
    verdicts = run.tables.none("verdicts")
    for name, params in run.settings.custom.items():
        if params.gate is not None:
            _check_condition(f"custom.{name}.gate", verdicts, custom_gates.gate_of(name, params).fails)
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
    custom_gates.gates(settings)


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
            fault = custom_gates.fault(e, condition, params.columns)
            raise SettingsError(f"custom.{name}.checks.{of_check}: {fault}") from e
