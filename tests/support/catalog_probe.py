"""Program for test_catalog.py: curate with --schema, then print what the Hive metastore shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import cli
from jobs.lake import views
from jobs.spark.session import connect
from schemas import TABLES
from tests.support.outputs import CURATED

SCHEMA = "films"


def table_description(spark: SparkSession, name: str) -> dict[str, Any]:
    """The output of DESCRIBE EXTENDED: the comment of each column, and the facts below them."""
    lines = [
        (row["col_name"], row["comment"] or row["data_type"])
        for row in spark.sql(f"DESCRIBE EXTENDED {name}").collect()
    ]
    return dict(lines)


def main(conf: Path, manifest: str, output: str) -> None:
    """Curate, read the catalog in another session, and try the schemas that must be refused."""
    options = ["--conf", str(conf), "--schema", SCHEMA]
    curate = ["curate", "--manifest", manifest, *options, *(f"--set={option}" for option in CURATED)]
    report: dict[str, Any] = {"status": [cli.main([*curate, "--output", output]) for _ in range(2)]}
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
    report["elsewhere"] = cli.main([*curate, "--output", f"{output}-other"])
    report["nowhere"] = cli.main(["sql", "--output", output, "--schema", "nowhere.films", "select 1"])
    report["unmade"] = cli.main(["sql", "--output", output, "--schema", "unmade", "select 1"])
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
