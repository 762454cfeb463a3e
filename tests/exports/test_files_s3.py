"""Exports to s3://: the same files as in a folder, continued, repeated and withdrawn there."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.support import s3
from tests.support.export_rows import files, index, release
from tests.support.outputs import table

pytestmark = [pytest.mark.spark, pytest.mark.exports]
SHARDS = ("--format", "webdataset", "--set", "export.webdataset.shard_clips=2")


@pytest.fixture(scope="module")
def there(s3_proxy: s3.Proxy) -> list[str]:
    """The settings that lead to the store."""
    return [f"--set=sources.s3_endpoint={s3_proxy.url}", "--set=sources.s3_region=us-east-1"]


@pytest.fixture(scope="module")
def bucket(s3_server: s3.Server) -> Path:
    """Where the objects of s3://sets lie as files."""
    return s3_server.bucket("sets")


def export(output: Path, to: object, *words: str) -> int:
    """The exit status of an export."""
    return cli.main(["export", "--output", str(output), "--to", str(to), *words])


@pytest.mark.parametrize(
    "words", [SHARDS, ("--format", "parquet"), ("--format", "huggingface")], ids=lambda words: words[1]
)
def test_a_store_gets_the_files_that_a_folder_gets(
    spark: SparkSession,
    curated: Path,
    bucket: Path,
    there: list[str],
    tmp_path: Path,
    s3_proxy: s3.Proxy,
    words: tuple[str, ...],
) -> None:
    s3_proxy.rate = 0.05
    assert export(curated, f"s3://sets/{words[1]}/", *words, *there) == 0
    s3_proxy.rate = 0.0
    assert export(curated, tmp_path, *words) == 0
    found, expected = files(bucket / words[1]), files(tmp_path)
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} <= {"README.md"}  # it names the tables' versions
    assert release(bucket / words[1])["parts"] == release(tmp_path)["parts"] != []


def test_nemos_layout_in_a_store_says_that_its_clips_lie_there(
    spark: SparkSession, curated: Path, bucket: Path, there: list[str], tmp_path: Path
) -> None:
    absolute = ("--format", "nemo", "--set", "export.paths=absolute")
    assert export(curated, "s3://sets/nemo", *absolute, *there) == 0
    assert export(curated, tmp_path, *absolute) == 0
    found, expected = files(bucket / "nemo"), files(tmp_path)
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} == {
        n for n in found if n.startswith(("metas/", "index/"))
    }
    for name in found:
        if name.startswith("metas/"):
            told = json.loads((bucket / "nemo" / name).read_text())
            assert (bucket.parent / told["clip_location"].removeprefix("s3://")).is_file()


def test_it_goes_on_in_a_store_and_is_made_again_from_there(
    spark: SparkSession,
    curated: Path,
    bucket: Path,
    there: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export(curated, "s3://sets/on", *SHARDS, *there) == 0
    whole = files(bucket / "on")
    [*_, last] = sorted((bucket / "on/shards").iterdir())
    last.unlink()
    assert export(curated, "s3://sets/on", *SHARDS, *there, "--dry-run") == 0
    assert "2 parts, 1 to write" in capsys.readouterr().out
    assert export(curated, "s3://sets/on", *SHARDS, *there) == 0
    assert files(bucket / "on") == whole
    assert export(curated, "s3://sets/on", "--format", "parquet", *there) == 2
    assert "--to s3://sets/on: holds an export with another format" in capsys.readouterr().err
    assert export(curated, tmp_path, "--release", "s3://sets/on/release.json", *there) == 0
    assert files(tmp_path) == whole


@pytest.mark.parametrize("format", ["frames", "lance"])
def test_what_is_no_set_of_whole_files_goes_to_a_folder(
    curated: Path, there: list[str], bucket: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    assert export(curated, "s3://sets/no", "--format", format, *there) == 2
    assert f"--format {format} --to s3://sets/no: is written to a folder" in capsys.readouterr().err


def test_a_bucket_that_is_none_is_told_at_once(
    curated: Path, there: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(curated, "s3://no-such-bucket/x", "--format", "parquet", *there) == 2
    assert "--to s3://no-such-bucket/x: no such object: NoSuchBucket" in capsys.readouterr().err


def test_takedown_reaches_what_lies_in_a_store(
    spark: SparkSession,
    curated: Path,
    bucket: Path,
    there: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output", ignore=shutil.ignore_patterns("exports")))
    assert export(output, "s3://sets/down", *SHARDS, *there) == 0
    [video] = {row["video_id"] for row in table(output, "videos") if row["uri"].endswith("other.mkv")}
    gone = {row["clip_id"] for row in table(output, "clips") if row["video_id"] == video}
    night = ["takedown", "--output", str(output), "--exports", "s3://sets/down", *there, video]
    assert cli.main(night) == 0
    assert "s3://sets/down: 0 files" in capsys.readouterr().out
    names = set()
    for shard in (bucket / "down/shards").iterdir():
        with tarfile.open(shard) as members:
            names |= {name.partition(".")[0] for name in members.getnames()}
    assert len(names) == 2
    assert not names & gone
    assert {row["clip_id"] for row in index(bucket / "down")} == names
