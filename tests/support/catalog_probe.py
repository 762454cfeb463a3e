"""Program for test_catalog.py: curate with --schema, then print what the Hive metastore shows."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import cli
from jobs.lake import views
from jobs.spark.session import connect
from schemas import TABLES
from tests.support import outputs
from tests.support.outputs import CURATED

SCHEMA = "films"


def table_description(spark: SparkSession, name: str) -> dict[str, Any]:
    """The output of DESCRIBE EXTENDED: the comment of each column, and the facts below them."""
    lines = [
        (row["col_name"], row["comment"] or row["data_type"])
        for row in spark.sql(f"DESCRIBE EXTENDED {name}").collect()
    ]
    return dict(lines)


def own_stage(spark: SparkSession, options: list[str], output: str) -> dict[str, Any]:
    """Run a stage of the user's own, then read its table, its view and its column, and take a copy's video down."""
    given = [*options, "--output", output, *(f"--set={option}" for option in CURATED)]
    section = ["--set=custom.file_size.function=sizes:size", "--set=custom.file_size.input=clip"]
    section.append("--set=custom.file_size.columns.num_bytes=bigint")
    status = [cli.main([job, *given, *section]) for job in ("custom", "filter")]
    found: dict[str, Any] = {"table": table_description(spark, "films.file_size")}
    for name, column in (("current_file_size", "num_bytes"), ("curated", "file_size_num_bytes")):
        rows = spark.sql(f"SELECT clip_id, {column} FROM spark_catalog.films.{name}").collect()
        found["current" if name != "curated" else name] = dict(map(tuple, rows))
    status.append(cli.main(["sql", *options, "--output", output, "describe curated"]))
    copy = f"{output}-copy"
    shutil.copytree(output, copy)
    others = [*options[:-1], "films_copied", "--output", copy]
    video = spark.table("films.videos").first()
    assert video is not None
    status.append(cli.main(["takedown", *others, video["video_id"]]))
    gone = spark.sql(f"SELECT clip_id FROM films.clips WHERE video_id = '{video['video_id']}'")
    left = spark.table("films_copied.file_size").join(gone, on="clip_id", how="left_semi").count()
    return found | {"status": status, "after_takedown": left}


def main(conf: Path, manifest: str, output: str) -> None:
    """Curate, read the catalog in another session, and try the schemas that must be refused."""
    options = ["--conf", str(conf), "--schema", SCHEMA]
    curate = ["curate", "--manifest", manifest, *options, *(f"--set={option}" for option in CURATED)]
    report: dict[str, Any] = {"status": [cli.main([*curate, "--output", output]) for _ in range(2)]}
    report["rows"] = outputs.tables(Path(output))
    spark = connect({}, verbose=False)
    spark.sql("USE films")
    for name in ("curated", "current_clips", *TABLES):
        spark.catalog.dropTempView(name)
    report["tables"] = {name: table_description(spark, f"films.{name}") for name in TABLES}
    report["views"] = {view.name: spark.table(f"films.{view.name}").count() for view in views.VIEWS}
    report["view_comments"] = {view.name: table_description(spark, f"films.{view.name}") for view in views.VIEWS}
    report["current"] = spark.table("films.current_clips").count()
    listed = spark.sql("SHOW VIEWS IN films").collect()  # those of the session too, by the same names
    report["permanent"] = [row["viewName"] for row in listed if not row["isTemporary"]]
    report["own"] = own_stage(spark, options, output)
    report["elsewhere"] = cli.main([*curate, "--output", f"{output}-other"])
    report["nowhere"] = cli.main(["sql", "--output", output, "--schema", "nowhere.films", "select 1"])
    report["unmade"] = cli.main(["sql", "--output", output, "--schema", "unmade", "select 1"])
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
