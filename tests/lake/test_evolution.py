"""An output of an older release, and one of a later: every job and view goes on from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.settings import load
from jobs.lake import answers
from jobs.lake.run import Run
from schemas import TABLES
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED, table

pytestmark = pytest.mark.spark
# One that no key or fingerprint hangs on, of each table that the output has; as if a release had added it.
ADDED = {
    "videos": "is_vfr",
    "spans": "method",
    "clips": "exact",
    "signals": "warnings",
    "embeddings": "text_scores",
    "centroids": "engine",
    "assignments": "distance_to_centroid",
    "duplicates": "distance_to_centroid",
    "verdicts": "duplicate_of",
    "runs": "gpu_s",
}


def made_by_another(path: Path, lost: str) -> None:
    """Write a table again without one of its columns and all its checks, and with an unknown one."""
    old = DeltaTable(path).to_pyarrow_table().drop_columns([lost])
    old = old.append_column("later", pa.array(["kept"] * len(old)))
    shutil.rmtree(path)
    write_deltalake(path, old)


@pytest.mark.upkeep
def test_a_run_goes_on_from_tables_of_another_release(
    spark: SparkSession, curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    for name, lost in ADDED.items():
        made_by_another(output / "tables" / name, lost)
    run = Run(spark, str(output), load([], CURATED))
    answers.register(run)
    assert [spark.table(name).count() for name in ("curated", "clip_stats", "clip_origins")] == [3, 2, 3]
    assert all(spark.table(name).columns == TABLES[name].schema.names for name in TABLES)
    video = write_numbered(tmp_path / "new.mp4", 60, first=2000)
    overrides = [f"--set={option}" for option in CURATED]
    assert cli.main(["curate", "--manifest", str(video), "--output", str(output), *overrides]) == 0
    for name, lost in ADDED.items():
        now = DeltaTable(output / "tables" / name)
        assert {lost, "later"} <= {field.name for field in now.schema().fields}
        assert set(table(curated, name)[0]) <= set(table(output, name)[0])
    assert {row["later"] for row in table(output, "clips")} == {"kept", None}
    capsys.readouterr()
    assert cli.main(["sql", "--output", str(output), "select count(*) as n from curated"]) == 0
    assert capsys.readouterr().out.split() == ["n", "4"]


def made_before_the_column_was_renamed(path: Path) -> None:
    """Write a table as releases did that called the column `dedup_run` `night`: required, and checked."""
    rows = DeltaTable(path).to_pyarrow_table()
    names = ["night" if name == "dedup_run" else name for name in rows.column_names]
    fields = [field.with_name(name) for field, name in zip(rows.schema, names, strict=True)]
    fields = [field.with_nullable(field.name != "night") for field in fields]
    shutil.rmtree(path)
    write_deltalake(path, pa.table(rows.columns, pa.schema(fields)))
    DeltaTable(path).alter.add_constraint({"night": "night >= 1"})


@pytest.mark.upkeep
def test_a_run_goes_on_from_tables_with_the_column_night(
    spark: SparkSession, curated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    for name in ("assignments", "duplicates"):
        made_before_the_column_was_renamed(output / "tables" / name)
    before = {name: sorted(row["clip_id"] for row in table(output, name)) for name in ("assignments", "duplicates")}
    curate = ["curate", "--output", str(output), *(f"--set={option}" for option in CURATED), "--manifest"]
    with caplog.at_level("INFO", logger="reelmill"):
        assert cli.main([*curate, str(Path(table(curated, "videos")[0]["uri"]).parent)]) == 0
    assert "nothing to do: 0 decoded, 0 rows written" in caplog.text
    assert cli.main([*curate, str(write_numbered(tmp_path / "new.mp4", 60, first=2000))]) == 0
    run = Run(spark, str(output), load([], CURATED))
    for name, clip_ids in before.items():
        rows = {row["clip_id"]: row["dedup_run"] for row in run.tables.read(name).collect()}
        assert [rows[clip_id] for clip_id in clip_ids] == [1, 1, 1]
        assert sorted(rows.values()) == [1, 1, 1, 2]
        assert run.tables.read(name).columns == TABLES[name].schema.names
