"""The content of an output folder as plain values that can be compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import reelmill
from schemas import TABLES

# The settings of the shared output (conftest.py's `curated`); jobs that continue it need them.
CURATED = ["split.clip_len_s=2", "split.min_clip_length_s=1", "filter.duplicates=false"]
VIEWS = {"funnel": "step, count", "curated": "*", "dropped": "*"}  # what a user looks at, with its columns
# Columns that differ from run to run: times, costs, attempts, and the run itself.
RUN_COLUMNS = {
    "run_id",
    "cut_run_id",
    "failed_at",
    "attempts",
    "started_at",
    "ended_at",
    "cpu_s",
    "source_version",
    "inputs",
}


def table(output: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table, read without Spark; none if the table does not exist."""
    path = output / "tables" / name
    if not (path / "_delta_log").is_dir():
        return []
    return list(DeltaTable(path).to_pyarrow_table().to_pylist())


def has_clips(folder: Path) -> bool:
    """Whether a clip lies below a folder; a run may delete folders meanwhile."""
    return any(name.endswith(".mp4") for _, _, names in os.walk(folder) for name in names)


def tables(output: Path) -> dict[str, list[str]]:
    """Every table but `runs`, and VIEWS, as sorted lines, without RUN_COLUMNS and with relative paths.

    Views go by the settings that `runs` holds: a run that is not noted there shows in them.
    """
    rows = {name: table(output, name) for name in TABLES if name != "runs"}
    library = reelmill.open(output)
    for view, columns in VIEWS.items():
        rows[view] = library.sql(f"SELECT {columns} FROM {view}").arrow().to_pylist()
    return {name: sorted(_line(output, row) for row in found) for name, found in rows.items()}


def keep_only(spark: SparkSession, output: Path, clip_ids: Collection[str]) -> None:
    """Rewrite the verdicts of an output so that exactly these clips are kept."""
    path = str(output / "tables" / "verdicts")
    verdicts = spark.read.format("delta").load(path)
    is_kept = verdicts["clip_id"].isin(*clip_ids)
    reasons = F.when(is_kept, F.array().cast("array<string>")).otherwise(F.array(F.lit("unwanted")))
    kept = verdicts.withColumn("kept", is_kept).withColumn("reasons", reasons)
    kept.localCheckpoint().write.format("delta").mode("overwrite").save(path)


def versions(output: Path) -> dict[str, int]:
    """The version of every table."""
    return {
        name: DeltaTable(output / "tables" / name).version() for name in TABLES if (output / "tables" / name).exists()
    }


def files(output: Path) -> dict[str, str]:
    """The sha256 of every media file."""
    paths = sorted(path for path in (output / "media").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _line(output: Path, row: dict[str, Any]) -> str:
    kept = {key: value for key, value in row.items() if key not in RUN_COLUMNS}
    return repr(kept).replace(str(output), "OUTPUT")
