"""manifest: files that Spark reads give their uris and attributes, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.config.errors import UsageError
from jobs.flow.manifest import read
from udfs.storage import manifest
from udfs.storage.settings import Params

pytestmark = pytest.mark.spark


def rows(spark: SparkSession, path: Path) -> list[tuple[str, dict[str, str] | None]]:
    """What a manifest names, in order."""
    found = read(spark, str(path), Params()).where("uri is not null")
    return sorted((row["uri"], row["attributes"]) for row in found.collect())


def write(path: Path, text: str) -> Path:
    """A text file, its folder and all."""
    path.write_bytes(text.encode())
    return path


def test_other_columns_of_csv_travel_as_attributes(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", 'uri,license,title\n/a.mp4,CC0,"one, ""two"""\n/b.mp4,,x\n')
    assert rows(spark, path) == [("/a.mp4", {"license": "CC0", "title": 'one, "two"'}), ("/b.mp4", {"title": "x"})]


def test_json_lines_keep_nested_values_as_json(spark: SparkSession, tmp_path: Path) -> None:
    lines = [{"uri": "/a.mp4", "tags": ["x", "y"], "n": 3}, {"uri": "/b.mp4"}]
    path = write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, lines)))
    assert rows(spark, path) == [("/a.mp4", {"n": "3", "tags": '["x","y"]'}), ("/b.mp4", {})]


def test_parquet_and_delta_need_only_the_column_uri(spark: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"uri": ["/a.mp4"]}).to_parquet(tmp_path / "m.parquet")
    spark.createDataFrame([("/b.mp4",)], "uri string").write.format("delta").save(str(tmp_path / "delta"))
    assert rows(spark, tmp_path / "m.parquet") == [("/a.mp4", None)]
    assert rows(spark, tmp_path / "delta") == [("/b.mp4", None)]


def test_a_relative_address_is_meant_from_the_manifests_folder(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "uri\nvideos/a.mp4\nfile:///b.mp4\n")
    assert [uri for uri, _ in rows(spark, path)] == sorted([f"{tmp_path}/videos/a.mp4", "/b.mp4"])


def test_one_file_under_several_spellings_is_one_row(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301.mp4").write_bytes(b"x")
    spellings = ["a.mp4", "./a.mp4", "x/../a.mp4", f"{tmp_path}//a.mp4 ", f"file://{tmp_path}/a.mp4\t"]
    path = write(tmp_path / "m.csv", "uri\n" + "\n".join([*spellings, "caf\u00e9.mp4", "cafe\u0301.mp4"]) + "\r\n")
    found = {row["uri"]: row["number"] for row in read(spark, str(path), Params()).collect()}
    assert found == {f"{tmp_path}/a.mp4": 5, f"{tmp_path}/cafe\u0301.mp4": 2}


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("m.csv", "uri;take\r\n/ä.mp4;1\r\n;\r\n;\r\n", "utf-8-sig"),
        ("m.csv", "uri;take\r\n/ä.mp4;1\r\n", "utf-16"),
        ("m.csv", "uri,take\r/ä.mp4,1\r", "utf-8"),
        ("m.tsv", "uri\ttake\n/ä.mp4\t1\n", "utf-8"),
        ("m.csv", "uri,take\n/ä.mp4,1\n,\n", "utf-8"),
        ("m.csv", " URI ,take\n/ä.mp4,1\n", "utf-8"),
        ("m.jsonl", '{"uri": "/ä.mp4", "take": 1}\r\n', "utf-16"),
    ],
)
def test_a_table_may_come_from_a_spreadsheet(
    spark: SparkSession, tmp_path: Path, name: str, text: str, encoding: str
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert rows(spark, tmp_path / name) == [("/ä.mp4", {"take": "1"})]


@pytest.mark.parametrize("takes", ["12", "21"])
def test_of_rows_of_one_file_the_same_counts_in_any_order(spark: SparkSession, tmp_path: Path, takes: str) -> None:
    path = write(tmp_path / "m.csv", "uri,take\n" + "".join(f"/a.mp4,{take}\n" for take in takes))
    assert rows(spark, path) == [("/a.mp4", {"take": "2"})]


def test_blank_rows_of_a_spreadsheet_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    found = read(spark, str(write(tmp_path / "m.csv", "uri,x\n/a.mp4,1\n,\n,\n")), Params())
    assert [row["number"] for row in found.where("left_out = 'blank'").collect()] == [2]


def test_parquet_of_types_that_spark_does_not_read(spark: SparkSession, tmp_path: Path) -> None:
    moment = pd.Timestamp("2026-01-02 03:04:05.120")
    columns = {
        "uri": pa.array(["/a.mp4", "/a.mp4"]).dictionary_encode(),
        "when": pa.array([moment, None], pa.timestamp("ns")),
        "clock": pa.array([moment.time(), None], pa.time64("ns")),
        "count": pa.array([2**63 + 1, None], pa.uint64()),
        "title": pa.array(["x", None], pa.large_string()),
        "tags": pa.array([{"at": moment.to_pydatetime()}, None], pa.struct([("at", pa.timestamp("ns"))])),
        "__index_level_0__": pa.array([3, 4]),
    }
    day = tmp_path / "m.parquet" / "day=2026-01-02"
    day.mkdir(parents=True)
    pq.write_table(pa.table(columns), day / "part-0.parquet")
    (tmp_path / "m.parquet" / "_SUCCESS").touch()
    [row] = read(spark, str(tmp_path / "m.parquet"), Params()).collect()
    assert (row["uri"], row["number"]) == ("/a.mp4", 2)
    assert row["attributes"] == {
        "when": "2026-01-02 03:04:05.12",
        "clock": "03:04:05.120000",
        "count": str(2**63 + 1),
        "title": "x",
        "tags": '{"at": "2026-01-02 03:04:05.120000"}',
        "__index_level_0__": "3",
        "day": "2026-01-02",
    }


def test_a_parquet_file_without_the_column_is_named(spark: SparkSession, tmp_path: Path) -> None:
    moment = pa.array([pd.Timestamp("2026-01-02 03:04:05.12")], pa.timestamp("ns"))  # which Spark does not read
    (tmp_path / "m.parquet").mkdir()
    pq.write_table(pa.table({"uri": ["/a.mp4"], "when": moment}), tmp_path / "m.parquet" / "a.parquet")
    pq.write_table(pa.table({"name": ["/b.mp4"], "when": moment}), tmp_path / "m.parquet" / "b.parquet")
    with pytest.raises(UsageError) as e:
        read(spark, str(tmp_path / "m.parquet"), Params())
    there = f"{tmp_path}/m.parquet"
    assert str(e.value) == f"--manifest {there}: {there}/b.parquet: no column uri, only name, when"


def test_a_uri_may_be_bytes_and_have_another_name(spark: SparkSession, tmp_path: Path) -> None:
    pq.write_table(pa.table({"video_path": [b"/a.mp4"], "uri": ["id-1"]}), tmp_path / "m.parquet")
    [row] = read(spark, str(tmp_path / "m.parquet"), Params(), manifest.Params("video_path")).collect()
    assert (row["uri"], row["attributes"]) == ("/a.mp4", {"uri": "id-1"})


@pytest.mark.parametrize("name", ["emoji-\U0001f3ac.mp4", "per%20cent#and?.mp4", "two words.mp4", "ümläut-電影.mp4"])
def test_names_come_through_unchanged(spark: SparkSession, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "m.jsonl", json.dumps({"uri": f"/{name}"}))
    assert rows(spark, path) == [(f"/{name}", None)]


def test_a_byte_order_mark_is_no_part_of_the_column_name(spark: SparkSession, tmp_path: Path) -> None:
    assert rows(spark, write(tmp_path / "m.csv", "\ufeffuri\n/a.mp4\n")) == [("/a.mp4", None)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.jsonl", '{"uri": "/a.mp4"}\n{"uri": \n', "MALFORMED"),
        ("m.jsonl", '{"path": "/a.mp4"}\n', "no column uri, but `path`: name it uri, or set manifest.uri_column"),
        ("m.jsonl", '{"uri": "/a.mp4"}\n{"uri": null}\n', "1 rows without a uri"),
        ("m.csv", "uri,x\n/a.mp4,1\n ,2\n", "1 rows without a uri"),
        ("m.csv", "", "no column uri"),
        ("m.jsonl", '{"uri": 5}\n', "the column uri holds bigint, not text"),
        ("m.jsonl", '{"uri": {"path": "/a.mp4"}}\n', "the column uri holds struct<path:string>, not text"),
        ("m.jsonl", '{"uri": ["/a.mp4"]}\n', "the column uri holds array<string>, not text"),
        pytest.param(
            "m.jsonl",
            '{"uri": "/' + "a" * (17 << 20) + '"}\n',
            "a line of more than 16 MiB near byte 16777216",
            id="a long line",
        ),
        pytest.param(
            "m.csv",
            "uri," + ",".join(f"c{i}" for i in range(5000)) + "\n/a.mp4" + ",1" * 5000 + "\n",
            "5001 columns, more than 1000",
            id="many columns",
        ),
        (
            "m.csv",
            "Video Path,URL,x\n/a.mp4,,1\n",
            "but `Video Path` or `URL`: name it uri, or set manifest.uri_column",
        ),
        ("m.csv", "sep=;\nuri;x\n/a.mp4;1\n", "begins with the line sep= of Excel: remove it"),
        (
            "m.jsonl",
            '{"uri": "/a.mp4", "x": ' + '{"a":' * 2000 + "1" + "}" * 2001,
            "line 1 is nested more than 100 deep",
        ),
    ],
)
def test_a_manifest_with_a_bad_row_is_refused_in_one_line(
    spark: SparkSession, tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(UsageError) as e:
        rows(spark, write(tmp_path / name, text))
    assert said in str(e.value)
    assert "\n" not in str(e.value)
