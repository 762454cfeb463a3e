"""manifest: files that Spark reads give their uris and attributes, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.cli import UsageError
from jobs.manifest import read
from udfs.source import Params

pytestmark = pytest.mark.spark


def rows(spark: SparkSession, manifest: Path) -> list[tuple[str, dict[str, str] | None]]:
    """What a manifest names, in order."""
    return sorted((row["uri"], row["attributes"]) for row in read(spark, str(manifest), Params()).collect())


def write(path: Path, text: str) -> Path:
    """A text file, its folder and all."""
    path.write_bytes(text.encode())
    return path


def test_other_columns_of_csv_travel_as_attributes(spark: SparkSession, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", 'uri,licence,title\n/a.mp4,CC0,"one, ""two"""\n/b.mp4,,x\n')
    assert rows(spark, manifest) == [("/a.mp4", {"licence": "CC0", "title": 'one, "two"'}), ("/b.mp4", {"title": "x"})]


def test_json_lines_keep_nested_values_as_json(spark: SparkSession, tmp_path: Path) -> None:
    lines = [{"uri": "/a.mp4", "tags": ["x", "y"], "n": 3}, {"uri": "/b.mp4"}]
    manifest = write(tmp_path / "m.jsonl", "\n".join(map(json.dumps, lines)))
    assert rows(spark, manifest) == [("/a.mp4", {"n": "3", "tags": '["x","y"]'}), ("/b.mp4", {})]


def test_parquet_and_delta_need_only_the_column_uri(spark: SparkSession, tmp_path: Path) -> None:
    pd.DataFrame({"uri": ["/a.mp4"]}).to_parquet(tmp_path / "m.parquet")
    spark.createDataFrame([("/b.mp4",)], "uri string").write.format("delta").save(str(tmp_path / "delta"))
    assert rows(spark, tmp_path / "m.parquet") == [("/a.mp4", None)]
    assert rows(spark, tmp_path / "delta") == [("/b.mp4", None)]


def test_a_relative_address_is_meant_from_the_manifests_folder(spark: SparkSession, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", "uri\nvideos/a.mp4\nfile:///b.mp4\n")
    assert [uri for uri, _ in rows(spark, manifest)] == sorted([f"{tmp_path}/videos/a.mp4", "file:///b.mp4"])


def test_a_uri_that_stands_twice_counts_once(spark: SparkSession, tmp_path: Path) -> None:
    assert len(rows(spark, write(tmp_path / "m.csv", "uri\n/a.mp4\n/a.mp4\n/b.mp4\n"))) == 2


@pytest.mark.parametrize("name", ["emoji-\U0001f3ac.mp4", "per%20cent#and?.mp4", "two words.mp4", "ümläut-電影.mp4"])
def test_names_come_through_unchanged(spark: SparkSession, tmp_path: Path, name: str) -> None:
    manifest = write(tmp_path / "m.jsonl", json.dumps({"uri": f"/{name}"}))
    assert rows(spark, manifest) == [(f"/{name}", None)]


def test_a_byte_order_mark_is_no_part_of_the_column_name(spark: SparkSession, tmp_path: Path) -> None:
    assert rows(spark, write(tmp_path / "m.csv", "\ufeffuri\n/a.mp4\n")) == [("/a.mp4", None)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.jsonl", '{"uri": "/a.mp4"}\n{"uri": \n', "MALFORMED"),
        ("m.jsonl", '{"path": "/a.mp4"}\n', "no column uri, only path"),
        ("m.jsonl", '{"uri": "/a.mp4"}\n{"uri": null}\n', "1 rows without a uri"),
        ("m.csv", "uri,x\n/a.mp4,1\n ,2\n", "1 rows without a uri"),
        ("m.csv", "", "no column uri"),
    ],
)
def test_a_manifest_with_a_bad_row_is_refused_in_one_line(
    spark: SparkSession, tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(UsageError) as e:
        rows(spark, write(tmp_path / name, text))
    assert said in str(e.value)
    assert "\n" not in str(e.value)
