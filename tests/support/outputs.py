"""An output folder -> what it holds, as plain values that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas import TABLES

# The settings of the output that tests share (conftest.py's `curated`), which a job needs to go on from it.
CURATED = ["split.clip_len_s=2", "split.min_clip_length_s=1", "filter.duplicates=false"]
# What differs from run to run by its nature: when, how long, and by which run.
PASSING = {"run_id", "failed_at", "attempts", "started_at", "ended_at", "cpu_s", "source_version", "inputs"}


def table(output: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table, read without Spark; none where there is no table."""
    path = output / "tables" / name
    if not (path / "_delta_log").is_dir():
        return []
    return list(DeltaTable(path).to_pyarrow_table().to_pylist())


def tables(output: Path) -> dict[str, list[str]]:
    """Every table but `runs`, as sorted lines without what differs from run to run; paths are relative to the output."""
    return {name: sorted(_line(output, row) for row in table(output, name)) for name in TABLES if name != "runs"}


def keep_only(spark: SparkSession, output: Path, clip_ids: Collection[str]) -> None:
    """Make the verdicts of an output say that these clips are kept and no others."""
    path = str(output / "tables" / "verdicts")
    verdicts = spark.read.format("delta").load(path)
    wanted = verdicts["clip_id"].isin(*clip_ids)
    reasons = F.when(wanted, F.array().cast("array<string>")).otherwise(F.array(F.lit("unwanted")))
    kept = verdicts.withColumn("kept", wanted).withColumn("reasons", reasons)
    kept.localCheckpoint().write.format("delta").mode("overwrite").save(path)


def versions(output: Path) -> dict[str, int]:
    """The version of every table."""
    return {name: DeltaTable(output / "tables" / name).version() for name in TABLES if (output / "tables" / name).exists()}


def files(output: Path) -> dict[str, str]:
    """Every media file and a hash of its bytes."""
    found = sorted(path for path in (output / "media").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _line(output: Path, row: dict[str, Any]) -> str:
    kept = {key: value for key, value in row.items() if key not in PASSING}
    return repr(kept).replace(str(output), "OUTPUT")
