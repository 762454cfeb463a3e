"""Catalogs: safe names, and the tables and views of a schema in Spark's catalog and in Hive's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import cli, curate
from jobs.config.errors import CatalogError, TableError, UsageError
from jobs.config.settings import load
from jobs.lake import answers, catalog, custom_tables, views
from jobs.lake.catalog import Schema, parse
from jobs.lake.declared import struct_type
from jobs.lake.owners import BELONGS
from jobs.lake.run import Run
from jobs.lake.tables import Tables
from schemas import TABLES
from tests.support import outputs
from tests.support.catalog_probe import SCHEMA
from tests.support.outputs import table

ROOT = Path(__file__).resolve().parents[2]


def test_a_name_has_one_part_or_two() -> None:
    assert parse("films").of("clips") == "`films`.`clips`"
    assert parse("main.films-2").of("clips") == "`main`.`films-2`.`clips`"


@pytest.mark.parametrize(
    "text", ["", ".", "a.b.c", "a.", "films; drop table x", "`films`", "fi lms", "films\n", "-f", "é", "a" * 256]
)
def test_any_other_is_refused_before_spark_starts(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    with pytest.raises(UsageError):
        parse(text)
    assert cli.main(["split", "--output", str(tmp_path), f"--schema={text}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.spark
def test_a_catalog_that_ends_with_the_session_is_refused(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["split", "--output", str(tmp_path), "--schema", "films"]) == 1
    assert "spark.sql.catalogImplementation=hive" in capsys.readouterr().err


@pytest.mark.spark
def test_a_catalog_that_is_not_there_is_one_line(spark: SparkSession) -> None:
    with pytest.raises(CatalogError, match=r"--schema nowhere.films: \[CATALOG_NOT_FOUND\].*`nowhere`") as e:
        catalog.prepare(spark, parse("nowhere.films"), make=True)
    assert "\n" not in str(e.value)
    assert spark.catalog.currentCatalog() == catalog.SPARKS_OWN


@pytest.fixture
def schema(spark: SparkSession, tmp_path: Path) -> Iterator[Schema]:
    """A schema of the session's own catalog."""
    spark.sql(f"CREATE SCHEMA films_here LOCATION '{tmp_path}/chosen'")
    yield Schema("films_here", catalog.SPARKS_OWN)
    spark.sql("DROP SCHEMA films_here CASCADE")


def verdicts(spark: SparkSession, *clips: str) -> DataFrame:
    """Kept clips."""
    made: dict[str, Any] = {"video_id": "v", "kept": True, "reasons": [], "fingerprint": "f", "run_id": "r"}
    rows = [made | {"clip_id": clip} for clip in clips]
    return spark.createDataFrame(rows, struct_type(TABLES["verdicts"].schema))


@pytest.mark.spark
def test_a_table_is_written_by_name_and_lies_in_the_output(spark: SparkSession, schema: Schema, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path / "tables"), schema)
    assert tables.append("verdicts", verdicts(spark, "a", "b")) == 2
    tables.replace("verdicts", verdicts(spark, "a"))
    tables.add("verdicts", verdicts(spark, "c"))
    assert tables.change("verdicts", verdicts(spark, "c", "d")) == 2
    tables.drop("verdicts", verdicts(spark, "d").select("clip_id"))
    assert [row["clip_id"] for row in spark.table("films_here.verdicts").collect()] == ["c"]
    assert [row["clip_id"] for row in table(tmp_path, "verdicts")] == ["c"]


@pytest.mark.spark
def test_what_was_made_without_a_schema_is_taken_into_it(spark: SparkSession, schema: Schema, tmp_path: Path) -> None:
    Tables(spark, str(tmp_path)).append("verdicts", verdicts(spark, "a"))
    assert Tables(spark, str(tmp_path), schema).append("verdicts", verdicts(spark, "a", "b")) == 1
    assert spark.table("films_here.verdicts").count() == 2


@pytest.mark.spark
def test_a_schema_is_that_of_one_output(spark: SparkSession, schema: Schema, tmp_path: Path) -> None:
    Tables(spark, str(tmp_path / "one"), schema).append("verdicts", verdicts(spark, "a"))
    with pytest.raises(TableError, match="its table verdicts is that of another output"):
        Tables(spark, str(tmp_path / "two"), schema).read("verdicts")


@pytest.mark.spark
def test_a_check_makes_no_schema_and_nothing_in_it(
    spark: SparkSession, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    monkeypatch.setattr(catalog, "prepare", lambda *_, make: made.append(make))
    job: Any = ModuleType("jobs.curate")
    job.run = lambda run, options: None
    options = curate.Options(output=str(tmp_path / "output"), manifest="m", check=True, schema=str(schema))
    cli.execute(job, options, load([], []))
    assert made == [False]
    assert spark.sql("SHOW TABLES IN films_here").where("NOT isTemporary").isEmpty()


@pytest.mark.spark
def test_in_a_volume_the_catalog_chooses_the_place(spark: SparkSession, schema: Schema, tmp_path: Path) -> None:
    tables = Tables(spark, "/Volumes/main/films/reels/tables", schema)
    tables.append("verdicts", verdicts(spark, "a"))
    tables = Tables(spark, "/Volumes/main/films/reels/tables", schema)  # that finds it again
    assert tables.append("verdicts", verdicts(spark, "a", "b")) == 1
    place = spark.sql("DESCRIBE DETAIL films_here.verdicts").collect()[0]["location"]
    assert place == f"file:{tmp_path}/chosen/verdicts"


@pytest.mark.spark
def test_in_a_volume_the_tables_of_own_stages_are_found_beside_views(
    spark: SparkSession, schema: Schema, tmp_path: Path
) -> None:
    columns = "clip_id string NOT NULL, level float, fingerprint string, run_id string"
    spark.sql(f"CREATE TABLE films_here.loudness ({columns}) USING delta COMMENT 'how loud'")
    spark.sql("CREATE VIEW films_here.current_loudness AS SELECT * FROM films_here.loudness")
    run = Run(spark, "/Volumes/main/films/reels", load([], []), schema=schema)
    [found] = custom_tables.known(run)
    assert (found.name, found.about, found.schema.names[1]) == ("loudness", "how loud", "level")


@pytest.mark.spark
@pytest.mark.upkeep
def test_views_of_a_schema_ask_its_tables_and_nothing_of_the_session(
    spark: SparkSession, schema: Schema, curated: Path, tmp_path: Path
) -> None:
    run = Run(spark, str(shutil.copytree(curated, tmp_path / "output")), load([], outputs.CURATED), schema=schema)
    answers.register(run)
    of_session = {
        name: sorted(map(str, spark.table(name).collect())) for name in ("curated", "clip_origins", "current_signals")
    }
    answers.publish(run)
    for name in ("curated", "clips", "current_clips", "current_signals"):
        spark.catalog.dropTempView(name)
    for name, rows in of_session.items():
        assert sorted(map(str, spark.table(f"films_here.{name}").collect())) == rows
    assert len(of_session["curated"]) == 3


@pytest.mark.spark
@pytest.mark.upkeep
def test_views_that_are_published_after_a_run_change_no_version_that_it_noted(
    spark: SparkSession, schema: Schema, curated: Path, tmp_path: Path
) -> None:
    output, settings = str(shutil.copytree(curated, tmp_path / "output")), load([], outputs.CURATED)
    first, second = (Run(spark, output, settings, schema=schema) for _ in range(2))
    curate._note_rest(first, "of the chain", datetime.now(UTC), {}, is_waiting=False, untouched=True)
    answers.publish(first)
    assert second.last.left_nothing(second.tables, "of the chain")


@dataclass(frozen=True)
class Probed:
    """What the probe found, what it said, and where it worked."""

    found: dict[str, Any]
    printed: str
    told: str
    conf: Path
    output: Path


@pytest.fixture(scope="module")
def probed(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Probed:
    """In a process of its own: the session that other tests share has no Hive."""
    folder = tmp_path_factory.mktemp("hive")
    conf = folder / "hive.toml"
    conf.write_text(
        f"""[spark]
"spark.master" = "local[2]"
"spark.sql.catalogImplementation" = "hive"
"spark.hadoop.javax.jdo.option.ConnectionURL" = "jdbc:derby:;databaseName={folder}/metastore;create=true"
"spark.sql.warehouse.dir" = "{folder}/warehouse"
""",
        encoding="utf-8",
    )
    (folder / "sizes.py").write_text("import os\n\n\ndef size(path):\n    return os.path.getsize(path)\n")
    manifest = str(Path(table(curated, "videos")[0]["uri"]).parent)
    command = [sys.executable, "-m", "tests.support.catalog_probe", str(conf), manifest, str(folder / "output")]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=1500, cwd=folder, env=_environment()
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    return Probed(json.loads(run.stdout.splitlines()[-1]), run.stdout, run.stderr, conf, folder / "output")


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.cluster
def test_with_a_schema_the_rows_are_those_without(probed: Probed, curated: Path) -> None:
    assert probed.found["status"] == [0, 0]
    assert probed.found["rows"] == outputs.tables(curated)
    assert outputs.files(probed.output) == outputs.files(curated)
    assert "nothing to do: 0 decoded, 0 rows written" in probed.told


@pytest.mark.cluster
def test_the_metastore_shows_every_table_with_its_comments(probed: Probed) -> None:
    for name, shown in probed.found["tables"].items():
        declared = {column.name: column.metadata["comment"] for column in struct_type(TABLES[name].schema)}
        assert {column: shown[column] for column in declared} == declared
        assert (shown["Comment"], shown["Type"]) == (TABLES[name].about, "EXTERNAL")
        assert shown["Location"] == f"file:{probed.output}/tables/{name}"


@pytest.mark.cluster
def test_the_metastore_has_every_view_for_good(probed: Probed) -> None:
    assert (probed.found["views"]["curated"], probed.found["current"]) == (3, 3)
    made = {"current_videos", *(view.name for view in views.VIEWS), *(f"current_{name}" for name in BELONGS)}
    assert set(probed.found["permanent"]) == made


@pytest.mark.cluster
def test_the_metastore_shows_every_view_with_its_comments(probed: Probed) -> None:
    for view in views.VIEWS:
        described = probed.found["view_comments"][view.name]
        assert {column: described[column] for column in view.columns} == view.columns
        assert described["Comment"] == view.about


@pytest.mark.cluster
def test_a_stage_of_ones_own_has_a_table_a_view_and_a_column(probed: Probed) -> None:
    own = probed.found["own"]
    assert own["status"] == [0, 0, 0, 0]
    assert own["table"]["Comment"] == "One row per clip, by the user's own stage file_size."
    assert (own["table"]["num_bytes"], own["table"]["Location"]) == (
        "by the user's own stage file_size",
        f"file:{probed.output}/tables/file_size",
    )
    clips = {row["clip_id"]: row["num_bytes"] for row in table(probed.output, "clips")}
    assert own["current"] == own["curated"] == clips
    assert "file_size_num_bytes" in probed.printed
    assert own["after_takedown"] == 0


@pytest.mark.cluster
def test_what_cannot_be_used_is_one_line(probed: Probed) -> None:
    assert [probed.found[name] for name in ("elsewhere", "nowhere", "unmade")] == [1, 1, 1]
    assert re.search(
        rf"^reelmill: --schema {SCHEMA}: its table \w+ is that of another output", probed.told, re.MULTILINE
    )
    assert "--schema nowhere.films: [CATALOG_NOT_FOUND]" in probed.told
    assert "--schema unmade: no such schema" in probed.told


@pytest.mark.cluster
def test_another_session_finds_it_by_name(probed: Probed) -> None:
    command = [sys.executable, "-m", "jobs.sql", "--conf", str(probed.conf), "--schema", f"spark_catalog.{SCHEMA}"]
    query = f"select count(*) as n, count(distinct video_id) as v from {SCHEMA}.curated"
    run = subprocess.run(
        [*command, "--output", str(probed.output), query],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        cwd=probed.output.parent,
        env=_environment(),
    )
    assert run.stdout.split() == ["n", "v", "3", "2"], run.stderr
