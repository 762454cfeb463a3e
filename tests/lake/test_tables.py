"""Delta tables: each row is written once, only differing rows change, and old tables gain columns."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from jobs.config.errors import TableError
from jobs.lake.tables import Tables, struct_type
from schemas import TABLES

pytestmark = pytest.mark.spark


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, str(tmp_path))


def verdicts(tables: Tables, *rows: tuple[str, bool], run_id: str = "first", fingerprint: str = "f") -> DataFrame:
    """Verdicts on these clips."""
    made = {"video_id": "v", "fingerprint": fingerprint, "run_id": run_id}
    values = [made | {"clip_id": clip, "kept": kept, "reasons": [] if kept else ["black"]} for clip, kept in rows]
    return tables.spark.createDataFrame(values, struct_type(TABLES["verdicts"].schema))


def held(tables: Tables) -> set[tuple[str, bool, str]]:
    """What the table holds: clip, kept, run."""
    return {(r["clip_id"], r["kept"], r["run_id"]) for r in tables.read("verdicts").collect()}


def test_a_table_never_written_has_its_columns_and_no_rows(tables: Tables) -> None:
    assert tables.read("clips").columns == TABLES["clips"].schema.names
    assert tables.read("clips").isEmpty()


def test_a_row_is_added_once(tables: Tables) -> None:
    assert tables.append("verdicts", verdicts(tables, ("a", True))) == 1
    assert tables.append("verdicts", verdicts(tables, ("a", True), ("b", True), run_id="second")) == 1
    assert held(tables) == {("a", True, "first"), ("b", True, "second")}


def test_the_same_key_by_other_settings_is_another_row(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    assert tables.append("verdicts", verdicts(tables, ("a", True), fingerprint="g")) == 1


def test_twice_in_one_batch_is_once_in_the_table(tables: Tables) -> None:
    assert tables.append("verdicts", verdicts(tables, ("a", True), ("a", True))) == 1


def test_upsert_lets_the_newest_row_of_a_key_win(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    assert tables.upsert("verdicts", verdicts(tables, ("a", False), run_id="second", fingerprint="g"), 1) == (1, 1)
    assert held(tables) == {("a", False, "second")}


@pytest.mark.parametrize("is_only_writer", [True, False])
def test_what_is_known_to_be_new_is_there_once(spark: SparkSession, tmp_path: Path, is_only_writer: bool) -> None:
    tables = Tables(spark, str(tmp_path), is_only_writer=is_only_writer)
    assert tables.upsert("verdicts", verdicts(tables, ("a", True)), 1) == (1, 0)
    assert tables.insert("verdicts", verdicts(tables, ("b", True)), 1) == 1
    assert tables.insert("verdicts", verdicts(tables, ("b", True)), 1) == (1 if is_only_writer else 0)
    assert tables.upsert("verdicts", verdicts(tables, ("a", False), run_id="second"), 1) == (1, 1)
    operations = [commit["operation"] for commit in DeltaTable(tables.path("verdicts")).history()]
    assert operations.count("MERGE") == (1 if is_only_writer else 3)  # a merge of nothing is no commit


def test_two_writers_at_once_add_each_row_once(tables: Tables) -> None:
    tables.append("verdicts", verdicts(tables, ("a", True)))
    batch = verdicts(tables, *((f"clip{i}", True) for i in range(20))).cache()
    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(lambda _: tables.append("verdicts", batch), range(3)))
    assert sum(added) == 20
    assert tables.read("verdicts").count() == 21


@pytest.mark.parametrize("left", ["_staged_commits/none", ".00000000000000000000.json.ab.tmp"])
def test_a_table_whose_making_was_cut_off_is_made_again(spark: SparkSession, tmp_path: Path, left: str) -> None:
    tables = Tables(spark, str(tmp_path), is_only_writer=True)
    path = Path(tables.path("verdicts"), "_delta_log", left)
    path.parent.mkdir(parents=True)
    path.touch()
    assert not tables.exists("verdicts")
    tables.upsert("verdicts", verdicts(tables, ("a", True)), 1)
    assert held(tables) == {("a", True, "first")}


def test_an_unchanged_state_is_not_written(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True)))
    before = DeltaTable(tables.path("verdicts")).version()
    assert tables.change("verdicts", verdicts(tables, ("b", True), ("a", True), run_id="second")) == 0
    assert DeltaTable(tables.path("verdicts")).version() == before


def test_a_changed_state_touches_only_what_differs(tables: Tables) -> None:
    tables.change("verdicts", verdicts(tables, ("a", True), ("b", True), ("c", True)))
    assert tables.change("verdicts", verdicts(tables, ("a", True), ("b", False), ("d", True), run_id="second")) == 3
    assert held(tables) == {("a", True, "first"), ("b", False, "second"), ("d", True, "second")}


def test_replace_leaves_nothing_of_before(tables: Tables) -> None:
    tables.replace("verdicts", verdicts(tables, ("a", True)))
    tables.replace("verdicts", verdicts(tables, ("b", True)))
    assert held(tables) == {("b", True, "first")}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_without_spark_and_tells_what_it_holds(tables: Tables, name: str) -> None:
    tables.append(name, tables.spark.createDataFrame([], struct_type(TABLES[name].schema)))  # checks are looked at here
    seen = pa.schema(DeltaTable(tables.path(name)).schema().to_arrow())
    assert seen.names == TABLES[name].schema.names
    lines = tables.spark.sql(f"DESCRIBE EXTENDED delta.`{tables.path(name)}`").collect()
    told = {row["col_name"]: row["comment"] or row["data_type"] for row in lines}
    assert {c: told[c] for c in seen.names} == {c.name: c.metadata[b"comment"].decode() for c in TABLES[name].schema}
    assert told["Comment"] == TABLES[name].about


def test_a_path_is_a_path_whatever_is_in_it(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(spark, str(tmp_path / "o'clock `now` 50%"))
    assert tables.append("verdicts", verdicts(tables, ("a", True))) == 1
    assert held(tables) == {("a", True, "first")}


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
