"""Keep addresses with passwords and signatures apart from all rows, and give them to the work that reads videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import pandas as pd
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import StructType

from jobs.lake.run import Run
from udfs.core.signed_addresses import unsigned
from udfs.storage.uris import is_remote, is_web, local_path

NAME, ADDRESS = "addresses", "address"
# Where rows of the release 0.1 have whole addresses.
OLD = {"videos": "uri", "verdicts": "video_uri", "failures": "key", "takedowns": "uri"}


def unsigned_column(uri: Column) -> Column:
    """Addresses without users, passwords, signatures and tokens."""

    def all_unsigned(uris: pd.Series) -> pd.Series:
        return uris.map(unsigned, na_action="ignore")

    return pandas_udf(all_unsigned, "string")(uri)  # type: ignore[call-overload, no-any-return]


def keep(run: Run, files: DataFrame) -> None:
    """Store the newest address of each of these files (uri, address), and forget those of files that need none now."""
    signed = files.where(F.col(ADDRESS).isNotNull()).select("uri", ADDRESS)
    if run.tables.exists(NAME):
        stored = run.tables.read(NAME).select("uri", ADDRESS)
        plain = files.where(F.col(ADDRESS).isNull()).select("uri")
        if not (needless := stored.join(plain, on="uri", how="left_semi").select("uri")).isEmpty():
            run.tables.drop(NAME, needless.localCheckpoint())
        signed = signed.join(stored, on=["uri", ADDRESS], how="left_anti")
    else:
        _unsign_old_rows(run)
    number = signed.count()
    if number:
        made_by = {"fingerprint": F.lit(run.fingerprint("ingest")), "run_id": F.lit(run.run_id)}
        run.tables.upsert(NAME, signed.withColumns(made_by), number)
        _close(run)


def with_addresses(run: Run, rows: list[Row], schema: StructType) -> tuple[list[Row], StructType]:
    """Rows of work with the column `address`, if any of them is about a video whose address is kept here."""
    uris = {row["uri"] for row in rows if is_web(row["uri"] or "")} if "uri" in schema.names else set()
    if not uris or not run.tables.exists(NAME):
        return rows, schema
    known = _addresses(run, sorted(uris))
    more = StructType([*schema.fields]).add(ADDRESS, "string")
    return [Row(*more.names)(*row, known.get(row["uri"])) for row in rows], more


def _addresses(run: Run, uris: Sequence[str]) -> dict[str, str]:
    named = run.spark.createDataFrame([(uri,) for uri in uris], "uri string")
    found = run.tables.read(NAME).join(named, on="uri", how="left_semi").select("uri", ADDRESS)
    return {row["uri"]: row[ADDRESS] for row in found.collect()}


def _unsign_old_rows(run: Run) -> None:
    """Take passwords and signatures out of rows of earlier releases, whose videos keep their ids."""
    for name, column in OLD.items():
        if not run.tables.exists(name):
            continue
        web = F.col(column).rlike("^https?://.*[?@#]")
        old = run.tables.read(name).where(web).select(column).distinct()
        pairs = old.select(F.col(column).alias("old"), unsigned_column(F.col(column)).alias("new")).where("old <> new")
        pairs = run.spark.createDataFrame(pairs.collect(), "old string, new string")
        if not pairs.isEmpty():
            table = DeltaTable.forName(run.spark, run.tables.sql(name)).alias("rows")
            merge = table.merge(pairs.alias("pairs"), f"rows.{column} = pairs.old")
            merge.whenMatchedUpdate(set={column: "pairs.new"}).execute()
            run.tables.forget()


def _close(run: Run) -> None:
    """Let no other user of this machine read the table, where the output is a folder."""
    if not is_remote(run.output):
        folder = os.path.dirname(local_path(run.tables.path(NAME)))
        with suppress(OSError):  # a file system without rights
            os.chmod(folder, os.stat(folder).st_mode & ~0o007)
