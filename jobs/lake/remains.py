"""Search an output for what was deleted: in tables, in data files of any version, and in names of media."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from jobs.lake import cleanup
from jobs.lake.declared import struct_type
from jobs.lake.run import Run
from schemas import declaration

RECORDS = ("takedowns",)  # the table that keeps the ids and addresses of what was deleted


def searched_tables(run: Run) -> list[str]:
    """The tables that must not hold what was deleted."""
    return [name for name in cleanup.existing(run) if name not in RECORDS]


def num_remains(run: Run, identifiers: DataFrame, clips: DataFrame) -> dict[str, int]:
    """How much is left, by place: of ids and addresses (id), and of the media files of clips (clip_id)."""
    names = searched_tables(run)
    counts = {f"rows of {name}": _num_matches(run.tables.read(name), identifiers) for name in names}
    counts |= {f"rows in files of {name}": _num_matches(_rows_on_disk(run, name), identifiers) for name in names}
    return counts | {"media files": cleanup.media_of(run, clips).count()}


def _num_matches(rows: DataFrame, identifiers: DataFrame) -> int:
    """How many values of the text columns are one of these ids and addresses."""
    texts = [field.name for field in rows.schema if isinstance(field.dataType, StringType)]
    values = rows.select(F.explode(F.array(*texts)).alias("id"))
    return values.join(identifiers, on="id", how="left_semi").count()


def _rows_on_disk(run: Run, name: str) -> DataFrame:
    """The rows of every data file under a table, of all versions."""
    files = run.spark.read.schema(struct_type(declaration(name).schema)).option("recursiveFileLookup", True)
    return files.parquet(run.tables.place(name))
