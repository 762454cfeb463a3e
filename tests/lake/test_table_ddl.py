"""Tables are made with their comments and checks, and those of an older release gain what they lack."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from jobs.config.errors import TableError
from jobs.lake.declared import struct_type
from jobs.lake.tables import Tables
from schemas import TABLES

pytestmark = pytest.mark.spark


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, str(tmp_path))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_without_spark_and_tells_what_it_holds(tables: Tables, name: str) -> None:
    tables.append(name, tables.spark.createDataFrame([], struct_type(TABLES[name].schema)))  # checks are looked at here
    seen = pa.schema(DeltaTable(tables.path(name)).schema().to_arrow())
    assert seen.names == TABLES[name].schema.names
    lines = tables.spark.sql(f"DESCRIBE EXTENDED delta.`{tables.path(name)}`").collect()
    told = {row["col_name"]: row["comment"] or row["data_type"] for row in lines}
    assert {c: told[c] for c in seen.names} == {c.name: c.metadata[b"comment"].decode() for c in TABLES[name].schema}
    assert told["Comment"] == TABLES[name].about


def rows(tables: Tables, name: str, **values: Any) -> DataFrame:
    """A row of a table with these values, the least that the others may be, and NULL where that is allowed."""
    least = {"string": "x", "int": 1, "bigint": 1, "double": 0.0, "binary": b"", "boolean": True}
    schema = struct_type(TABLES[name].schema)
    row = [values.get(c.name, None if c.nullable else least.get(c.dataType.simpleString(), [])) for c in schema]
    return tables.spark.createDataFrame([tuple(row)], schema)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("spans", {"start_s": 1.0, "end_s": 2.0}, {"start_s": 2.0, "end_s": 2.0}),
        ("signals", {"blackness": 1.0}, {"blackness": 1.01}),
        ("signals", {"freeze": None}, {"freeze": float("nan")}),
        ("embeddings", {"dim": 2, "vector": [0.6, 0.8]}, {"dim": 3, "vector": [0.6, 0.8]}),
        ("duplicates", {"similarity": 1.0000001}, {"similarity": 1.1}),
        ("verdicts", {"kept": False, "reasons": ["black"]}, {"kept": True, "reasons": ["black"]}),
    ],
)
def test_a_row_that_cannot_be_is_loud_and_names_its_table(
    tables: Tables, name: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    tables.append(name, rows(tables, name, **good))
    with pytest.raises(Exception, match="DELTA_VIOLATE_CONSTRAINT") as e:
        tables.append(name, rows(tables, name, **bad, fingerprint="g"))
    assert e.value.__notes__ == [f"in table {name}"]
    assert tables.read(name).count() == 1


def written_before(tables: Tables, name: str, *dropped: str, **values: Any) -> None:
    """A table as a release left it that knew fewer columns and no checks."""
    plain = pa.schema([pa.field(field.name, field.type) for field in TABLES[name].schema])
    old = pa.Table.from_pylist([row.asDict() for row in rows(tables, name, **values).collect()], plain)
    write_deltalake(tables.path(name), old.drop_columns([*dropped]))


def properties(tables: Tables, name: str) -> set[str]:
    """The names of a table's checks."""
    shown = tables.spark.sql(f"SHOW TBLPROPERTIES {tables.sql(name)}").collect()
    return {
        row["key"].removeprefix("delta.constraints.") for row in shown if row["key"].startswith("delta.constraints.")
    }


def test_a_table_of_an_older_release_opens_and_grows(tables: Tables) -> None:
    written_before(tables, "spans", "method", "end_frame", start_s=0.0, end_s=1.0)
    assert tables.read("spans").columns == TABLES["spans"].schema.names
    assert [row["method"] for row in tables.read("spans").collect()] == [None]
    tables.append("spans", rows(tables, "spans", clip_id="y", start_s=1.0, end_s=2.0, method="content"))
    stored = DeltaTable(tables.path("spans")).to_pyarrow_table()
    assert {(r["clip_id"], r["method"]) for r in stored.to_pylist()} == {("x", None), ("y", "content")}
    assert properties(tables, "spans") == set(TABLES["spans"].checks)
    told = tables.spark.table(tables.sql("spans")).schema["method"].metadata["comment"]
    assert told == TABLES["spans"].schema.field("method").metadata[b"comment"].decode()


@pytest.mark.parametrize("old", [False, True])
def test_files_have_statistics_of_what_they_are_skipped_by(tables: Tables, old: bool) -> None:
    if old:
        written_before(tables, "signals", "blackness")
    tables.append("signals", rows(tables, "signals", clip_id="y", blackness=0.5, run_id="r"))
    last = pa.table(DeltaTable(tables.path("signals")).get_add_actions(flatten=True)).to_pylist()
    [new] = [action for action in last if action["num_records"] == 1 and action.get("min.run_id") == "r"]
    assert new["min.clip_id"] == new["max.clip_id"] == "y"
    assert new.get("min.blackness") is None


def test_statistics_of_ones_own_stay(tables: Tables) -> None:
    written_before(tables, "signals")
    tables.spark.sql(
        f"ALTER TABLE {tables.sql('signals')} SET TBLPROPERTIES ('delta.dataSkippingNumIndexedCols' = '3')"
    )
    tables.append("signals", rows(tables, "signals", clip_id="y"))
    shown = tables.spark.sql(f"SHOW TBLPROPERTIES {tables.sql('signals')}").collect()
    assert "delta.dataSkippingStatsColumns" not in {row["key"] for row in shown}


def test_an_old_row_that_breaks_a_check_stays_and_so_does_the_table(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    written_before(tables, "spans", start_s=2.0, end_s=1.0)
    tables.append("spans", rows(tables, "spans", clip_id="y", start_s=1.0, end_s=2.0))
    assert properties(tables, "spans") == {"frames"}
    assert "table spans: not checked for start_s >= 0 AND start_s < end_s" in caplog.text
    assert tables.read("spans").count() == 2


def test_what_a_later_release_wrote_is_kept(tables: Tables) -> None:
    tables.append("copies", rows(tables, "copies"))
    tables.spark.sql(f"ALTER TABLE {tables.sql('copies')} ADD COLUMNS (mirrored boolean)")
    tables.spark.sql(f"UPDATE {tables.sql('copies')} SET mirrored = true")
    later = Tables(tables.spark, tables.root)
    assert later.read("copies").columns == TABLES["copies"].schema.names
    later.append("copies", rows(tables, "copies", clip_id="y"))
    later.upsert("copies", rows(tables, "copies", distance=3.0), 1)
    later.add("copies", rows(tables, "copies", clip_id="z"))
    stored = tables.spark.table(tables.sql("copies")).collect()
    assert {(r["clip_id"], r["distance"], r["mirrored"]) for r in stored} == {
        ("x", 3.0, True),
        ("y", None, None),
        ("z", None, None),
    }


def test_a_column_of_another_type_is_one_line(tables: Tables) -> None:
    write_deltalake(tables.path("spans"), pa.table({"clip_id": ["a"], "start_s": ["0"]}))
    for use in (lambda: tables.read("spans"), lambda: tables.make("spans")):
        with pytest.raises(
            TableError, match=r"^table spans: column start_s is string, and this release writes double$"
        ):
            use()
