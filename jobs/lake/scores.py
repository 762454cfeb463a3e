"""What `verdicts` says of a clip beside its verdict, gathered from the tables that the stages fill."""

from __future__ import annotations

from collections.abc import Set

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake import last_run
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import chain_fingerprint
from jobs.lake.last_run import Scored
from jobs.lake.run import Run
from schemas import TABLES, custom_tables
from schemas.custom import scores_of
from schemas.verdicts import FROM_CLIPS, FROM_SIGNALS, FROM_SPANS

SOURCES = ("videos", "spans", "clips", "signals", "aesthetics", "embeddings", "duplicates", "captions")
STAGES = ("split", "clip", "analyze", "aesthetic", "embed", "dedup", "caption")  # whose settings made them
LATER = ("duplicates", "captions")  # of these, what dedup and later stages fill
OF_VERDICT = ("kept", "reasons", "duplicate_of", "fingerprint", "run_id")  # the other columns are `gathered`


def gathered(run: Run) -> DataFrame:
    """One row per current clip: the columns of `verdicts` that hold for every threshold."""
    return _with_columns(_of_clips(run), run, _columns_by_table(run))


def before_dedup(run: Run, names: Set[str]) -> DataFrame:
    """One row per current clip with these columns of `verdicts`, NULL in those that dedup and later stages fill.

    Only the tables that have one of them are read.
    """
    by_table = {name: rows for name, rows in _columns_by_table(run).items() if name not in LATER}
    needed = {name: rows for name, rows in by_table.items() if names & {*rows.columns[1:]}}
    rows = _with_columns(_of_clips(run), run, needed)
    declared = (column for column in struct_type(TABLES["verdicts"].schema) if column.name in names - {"clip_id"})
    known = ((column, F.col(column.name) if column.name in rows.columns else F.lit(None)) for column in declared)
    return rows.select("clip_id", *(value.cast(column.dataType).alias(column.name) for column, value in known))


def _of_clips(run: Run) -> DataFrame:
    return run.current("clips").select("clip_id", "video_id", *FROM_CLIPS, F.col("run_id").alias("cut_run_id"))


def _columns_by_table(run: Run) -> dict[str, DataFrame]:
    """What each of the other tables has to say, with the column by which it is joined first."""
    found = {
        "videos": run.rows("videos").select("video_id", F.col("uri").alias("video_uri")),
        "spans": run.made("spans").select("clip_id", *FROM_SPANS),
        "signals": run.made("signals").select(
            "clip_id", F.lit(True).alias("measured"), *FROM_SIGNALS, F.size("previews").alias("num_previews")
        ),
        "aesthetics": run.made("aesthetics").select(
            "clip_id", *(F.col(name).alias(f"aesthetic_{name}") for name in ("score_min", "score_mean"))
        ),
        "embeddings": run.made("embeddings").select("clip_id", F.col("model").alias("embedding_model")),
        "duplicates": run.rows("duplicates").select(
            "clip_id", F.col("method").alias("link_method"), "similarity", "cluster_id"
        ),
        "captions": captions(run.made("captions")),
    }
    for table in custom_tables():
        named = (F.col(name).alias(score) for name, score in scores_of(table).items())
        found[table.name] = run.made(table.name).select("clip_id", *named)
    return found


def _with_columns(rows: DataFrame, run: Run, by_table: dict[str, DataFrame]) -> DataFrame:
    """Rows of clips with the columns of `verdicts` that hold for every threshold, NULL where no table has them."""
    for name, columns in by_table.items():
        if run.holds(name):
            rows = rows.join(columns, on=columns.columns[0], how="left")
    declared = [column for column in struct_type(TABLES["verdicts"].schema) if column.name not in OF_VERDICT]
    values = ((column, F.col(column.name) if column.name in rows.columns else F.lit(None)) for column in declared)
    rows = rows.select(*(value.cast(column.dataType).alias(column.name) for column, value in values))
    return rows.withColumn("measured", F.coalesce("measured", F.lit(False)))


def captions(rows: DataFrame) -> DataFrame:
    """One row per captioned clip, with `num_captions` and the `caption` of its first window."""
    first = F.min_by("caption", "start_frame").alias("caption")
    return rows.groupBy("clip_id").agg(F.count("*").cast("int").alias("num_captions"), first)


def made_by(run: Run) -> str:
    """A hash of the settings that made what `gathered` gives."""
    return chain_fingerprint((*STAGES, *run.settings.custom), run.settings)


def scored(run: Run) -> Scored:
    """What to note where `verdicts` lacks nothing of the tables as they are."""
    return Scored(made_by(run), last_run.versions(run.tables))


def are_stored(run: Run) -> bool:
    """Whether `verdicts` holds what `gathered` would give: no source has changed since it was written."""
    noted = run.last.scored
    if noted is None or noted.made_by != made_by(run):
        return False
    now = last_run.versions(run.tables)
    sources = (*SOURCES, *(table.name for table in custom_tables()))
    return all(now.get(name) == noted.versions.get(name) for name in sources)
