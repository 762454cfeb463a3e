"""WebDataset exports: buckets by size, aspect and length, and shards that are reproducible."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import TypeAdapter, ValidationError
from webdataset import WebDataset

from tests.support.export_rows import batches, clip, index, part
from udfs.exports import webdataset
from udfs.runtime.context import Row


def write(to: Path, rows: list[Row], size: int = 100) -> Path:
    """The shard of rows that come in batches of `size`."""
    new_part = part(to)
    webdataset.write(new_part, batches(rows, size))
    new_part.close()
    return to / "shards" / "00000.tar"


def bucket(width: int, height: int, duration_s: float, **params: Any) -> str:
    """The bucket of a clip, computed by DuckDB, which starts faster than Spark."""
    sql = webdataset.bucket_sql(TypeAdapter(webdataset.Params).validate_python(params))
    query = f"SELECT {sql} FROM (SELECT {width} AS width, {height} AS height, {duration_s} AS duration_s)"
    [(name,)] = duckdb.connect().execute(query).fetchall()
    return str(name)


@pytest.mark.parametrize(
    ("width", "height", "duration_s", "name"),
    [
        (1920, 1080, 10.0, "1080p-16x9-10s"),
        (1918, 1078, 9.91, "720p-16x9-10s"),
        (1918, 1078, 9.89, "720p-16x9-5s"),
        (720, 1280, 3.0, "720p-9x16-2s"),
        (320, 200, 1.0, "0p-16x9-0s"),
        (640, 480, 60.0, "480p-4x3-30s"),
        (500, 500, 2.0, "480p-1x1-2s"),
        (7680, 2160, 2.0, "2160p-16x9-2s"),
    ],
)
def test_a_clip_is_in_the_bucket_of_its_size_aspect_and_length(
    width: int, height: int, duration_s: float, name: str
) -> None:
    assert bucket(width, height, duration_s) == name


def test_empty_settings_drop_their_part_of_the_bucket() -> None:
    assert bucket(1920, 1080, 10.0, sides_px=[], lengths_s=[]) == "16x9"
    assert bucket(1920, 1080, 10.0, sides_px=[], lengths_s=[], aspects=[]) == ""


@pytest.mark.parametrize(
    "wrong", [{"aspects": ["16:9", "1:1"]}, {"aspects": ["wide"]}, {"sides_px": [480, 360]}, {"lengths_s": [0]}]
)
def test_buckets_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(webdataset.Params).validate_python(wrong)


def test_the_package_webdataset_reads_a_shard(tmp_path: Path) -> None:
    rows = [
        clip(tmp_path, "a", score=0.5, tags={"k": 1}, caption="two cars"),
        clip(tmp_path, "b", score=None, tags=None, caption=None),
    ]
    samples = list(WebDataset(str(write(tmp_path / "to", rows)), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["a", "b"]
    assert samples[0]["mp4"] == b"a" * 100
    assert json.loads(samples[0]["json"]) == {"clip_id": "a", "score": 0.5, "tags": {"k": 1}, "caption": "two cars"}
    assert samples[0]["txt"] == b"two cars"
    assert "txt" not in samples[1]


def test_the_best_caption_of_every_window_is_taken() -> None:
    captions = [
        {"caption": "a car", "stage2_caption": None, "enhanced_caption": None},
        {"caption": "a car", "stage2_caption": "a red car", "enhanced_caption": None},
        {"caption": "a car", "stage2_caption": "a red car", "enhanced_caption": "A red car."},
    ]
    assert webdataset.caption({"captions": captions}) == "a car\na red car\nA red car."
    assert webdataset.caption({"captions": None}) is None
    assert webdataset.caption({"caption": "mine", "captions": captions}) == "mine"


def test_bytes_depend_on_nothing_but_rows_and_files(tmp_path: Path) -> None:
    rows = [clip(tmp_path, f"clip{i}", score=i / 3) for i in range(5)]
    one = write(tmp_path / "one", rows).read_bytes()
    os.utime(tmp_path / "clip1.mp4", (1, 1))
    (tmp_path / "clip1.mp4").chmod(0o600)
    assert write(tmp_path / "two", rows, size=2).read_bytes() == one
    with tarfile.open(tmp_path / "one/shards/00000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in tar} == {(0, 0, "", 0o644)}


def test_a_clip_that_comes_twice_raises_and_leaves_no_shard(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gives clip a twice"):
        write(tmp_path / "to", [clip(tmp_path, "a"), clip(tmp_path, "a")])
    assert [path for path in (tmp_path / "to").rglob("*") if path.is_file()] == []


def test_the_index_names_the_members_and_the_hash_of_the_shard(tmp_path: Path) -> None:
    shard = write(tmp_path / "to", [clip(tmp_path, "a"), clip(tmp_path, "b")])
    facts = {"path": "shards/00000.tar", "shared": True, "num_bytes": shard.stat().st_size}
    facts["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    assert index(tmp_path / "to") == [{"clip_id": c, "video_id": "v1", "name": c} | facts for c in ("a", "b")]
