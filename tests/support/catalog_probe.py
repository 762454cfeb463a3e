"""A manifest and an output -> what a Hive metastore shows after a curate with --schema, as JSON: test_catalog.py runs it."""

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


def described(spark: SparkSession, name: str) -> dict[str, Any]:
    """What DESCRIBE says of a table: comments by column, and the facts below them."""
    lines = [(row["col_name"], row["comment"] or row["data_type"]) for row in spark.sql(f"DESCRIBE EXTENDED {name}").collect()]
    return dict(lines)


def main(conf: Path, manifest: str, output: str) -> None:
    """Curate, look at the catalog from outside, and try what must be refused."""
    options = ["--conf", str(conf), "--schema", SCHEMA]
    curate = ["curate", "--manifest", manifest, *options, *(f"--set={option}" for option in CURATED)]
    found: dict[str, Any] = {"status": [cli.main([*curate, "--output", output]) for _ in range(2)]}
    spark = connect({}, verbose=False)
    spark.sql("USE films")
    for name in ("curated", "current_clips", *TABLES):
        spark.catalog.dropTempView(name)
    found["tables"] = {name: described(spark, f"films.{name}") for name in TABLES}
    found["views"] = {view.name: spark.table(f"films.{view.name}").count() for view in views.VIEWS}
    found["view_comments"] = {view.name: described(spark, f"films.{view.name}") for view in views.VIEWS}
    found["current"] = spark.table("films.current_clips").count()
    listed = spark.sql("SHOW VIEWS IN films").collect()  # those of the session too, by the same names
    found["permanent"] = [row["viewName"] for row in listed if not row["isTemporary"]]
    found["elsewhere"] = cli.main([*curate, "--output", f"{output}-other"])
    found["nowhere"] = cli.main(["sql", "--output", output, "--schema", "nowhere.films", "select 1"])
    found["unmade"] = cli.main(["sql", "--output", output, "--schema", "unmade", "select 1"])
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
