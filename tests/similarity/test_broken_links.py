"""Links that lead to deleted clips: all clips that hang on them are linked again, and no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake.run import Run
from jobs.similarity.broken_links import clips_to_relink
from schemas import TABLES
from tests.support.two_settings import add

pytestmark = pytest.mark.spark
# b and c are duplicates of a, and d of c; e is near a alone, f of no clip, and h a duplicate of g.
LINKS = {"b": ("a", 0.95), "c": ("a", 0.92), "d": ("c", 0.91), "e": ("a", 0.5), "f": (None, None), "h": ("g", 0.99)}
ZERO: dict[pa.DataType, Any] = {pa.string(): "x", pa.int32(): 1, pa.int64(): 1, pa.float64(): 0.0}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The links, as dedup left them."""
    rows = [{"clip_id": clip, "duplicate_of": of, "similarity": cosine} for clip, (of, cosine) in LINKS.items()]
    fields = TABLES["duplicates"].schema
    filled = [{f.name: row.get(f.name, None if f.nullable else ZERO[f.type]) for f in fields} for row in rows]
    plain = pa.schema([pa.field(f.name, f.type) for f in fields])
    write_deltalake(tmp_path / "tables" / "duplicates", pa.Table.from_pylist(filled, schema=plain))
    return tmp_path


def relinked(spark: SparkSession, output: Path, deleted: str, *settings: str) -> str:
    """The clips to link again once these are deleted, in order."""
    run = Run(spark, str(output), load([], list(settings)))
    rows = clips_to_relink(run, spark.createDataFrame([(clip,) for clip in deleted], "clip_id string"))
    return "".join(sorted(row["clip_id"] for row in rows.collect()))


def test_all_that_hang_on_a_deleted_clip_are_linked_again(spark: SparkSession, output: Path) -> None:
    assert relinked(spark, output, "a") == "bcde"
    assert relinked(spark, output, "c") == "d"
    assert relinked(spark, output, "bf") == ""


def test_deleted_clips_are_not_linked_again(spark: SparkSession, output: Path) -> None:
    assert relinked(spark, output, "ac") == "bde"


def test_the_loosest_level_is_that_of_the_last_dedup_run(spark: SparkSession, output: Path) -> None:
    assert relinked(spark, output, "a", "dedup.levels=[0.01]") == "bce"  # c to a counts, d to c does not
    for day, levels in ((1, [0.01]), (2, [0.01, 0.2])):
        conf = json.dumps({"dedup": {"levels": levels}})
        add(output, "runs", [{"stage": "dedup", "conf": conf, "started_at": datetime(2026, 1, day, tzinfo=UTC)}])
    assert relinked(spark, output, "a", "dedup.levels=[0.01]") == "bcde"
