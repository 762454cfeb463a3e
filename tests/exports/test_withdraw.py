"""Clips are removed from the files and the index of an export; the other clips stay."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import s3
from udfs.exports import huggingface, shards, withdraw
from udfs.storage.settings import Params

HERE = Params()


def row(clip: str, path: str) -> dict[str, Any]:
    """A row of an index."""
    return {
        "clip_id": clip,
        "video_id": f"video of {clip}",
        "name": clip,
        "path": path,
        "num_bytes": 1,
        "sha256": "old",
    }


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An export with clips a and b in shared files, and each in a file and a folder of its own.

    Clips b and c are also in a Lance data set.
    """
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for name in ("a.mp4", "a.json", "b.mp4", "b.json"):
            shard.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    pq.write_table(pa.table({"id": ["a", "b"], "vector": [[1.0], [2.0]]}), tmp_path / "0.parquet")
    (tmp_path / "all.json").write_text(
        json.dumps({"clips": ["a", "b"], "of": {"a": 1, "b": 2}, "rows": [{"id": "a"}, {"id": "b"}]})
    )
    for clip in "ab":
        (tmp_path / f"{clip}.mp4").write_bytes(clip.encode())
        (tmp_path / clip).mkdir()
        (tmp_path / clip / "0.jpg").write_bytes(b"x")
    (tmp_path / "data.lance").mkdir()
    (tmp_path / "index").mkdir()
    shared = [row(clip, path) for path in ("0.tar", "0.parquet", "all.json") for clip in "ab"]
    alone = [row(clip, f"{clip}.mp4") for clip in "ab"]
    pq.write_table(
        pa.Table.from_pylist([*shared, *alone, row("b", "data.lance"), row("c", "data.lance")]),
        tmp_path / "index" / "0.parquet",
    )
    return tmp_path


def paths(export: Path, ids: set[str]) -> set[str]:
    return {file.path for file in withdraw.affected_files(str(export), ids, HERE)}


def test_the_files_that_hold_a_clip_are_found(export: Path) -> None:
    assert (
        paths(export, {"a"}) == paths(export, {"a", "video of a"}) == {"a", "0.tar", "0.parquet", "all.json", "a.mp4"}
    )
    assert paths(export, {"video of b"}) == {"0.tar", "0.parquet", "all.json", "b.mp4", "data.lance"}
    assert not paths(export, {"", "d"})
    [folder] = (file for file in withdraw.affected_files(str(export), {"a"}, HERE) if file.path == "a")
    assert withdraw.files_and_bytes(str(export), folder, HERE) == (1, 1)


def test_a_clip_is_removed_and_the_other_stays(export: Path) -> None:
    withdraw.remove_ids(str(export), {"a"}, HERE)
    assert not paths(export, {"a"})
    with tarfile.open(export / "0.tar") as shard:
        assert shard.getnames() == ["b.mp4", "b.json"]
    assert pq.read_table(export / "0.parquet").to_pylist() == [{"id": "b", "vector": [2.0]}]
    assert json.loads((export / "all.json").read_text()) == {"clips": ["b"], "of": {"b": 2}, "rows": [{"id": "b"}]}
    assert sorted(path.name for path in export.iterdir()) == [
        "0.parquet",
        "0.tar",
        "all.json",
        "b",
        "b.mp4",
        "data.lance",
        "index",
    ]
    index = {
        entry["path"]: entry
        for entry in pq.read_table(export / "index" / "0.parquet").to_pylist()
        if entry["clip_id"] == "b"
    }
    assert index["0.tar"]["sha256"] == hashlib.sha256((export / "0.tar").read_bytes()).hexdigest()
    assert index["b.mp4"]["sha256"] == "old"


def test_a_file_that_only_its_library_can_write_is_still_reported(export: Path) -> None:
    withdraw.remove_ids(str(export), {"b"}, HERE)
    assert paths(export, {"b"}) == {"data.lance"}
    withdraw.remove_ids(str(export), {"c"}, HERE)
    assert paths(export, {"b", "c"}) == {"data.lance"}


def test_a_file_without_other_clips_is_deleted(export: Path) -> None:
    withdraw.remove_ids(str(export), {"a", "b", "c"}, HERE)
    assert [path.name for path in export.iterdir()] == ["index"]


def test_a_clip_is_removed_from_a_store(export: Path, s3_server: s3.Server) -> None:
    names = ["0.tar", "0.parquet", "all.json", "a.mp4", "b.mp4", "index/0.parquet"]
    for name in names:
        s3_server.put(f"s3://withdraw/to/{name}", export / name)
    there, bucket = Params(s3_endpoint=s3_server.url, s3_region="us-east-1"), s3_server.bucket("withdraw") / "to"
    withdraw.remove_ids(str(export), {"a"}, HERE)
    affected = list(withdraw.affected_files("s3://withdraw/to", {"a"}, there))
    assert {file.path for file in affected} == {"0.tar", "0.parquet", "all.json", "a.mp4"}
    assert all(
        withdraw.files_and_bytes("s3://withdraw/to", file, there) == (1, (bucket / file.path).stat().st_size)
        for file in affected
    )
    withdraw.remove_ids("s3://withdraw/to", {"a"}, there)
    assert not list(withdraw.affected_files("s3://withdraw/to", {"a"}, there))
    left = {name: (bucket / name).read_bytes() for name in names if (bucket / name).exists()}
    assert left == {name: (export / name).read_bytes() for name in names if name != "a.mp4"}


def test_a_data_set_of_videos_keeps_its_layout(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    videos = pa.array([{"bytes": name.encode() * 1000, "path": f"{name}.mp4"} for name in "ab"], huggingface.VIDEO)
    pq.write_table(pa.table({"video": videos, "clip_id": ["a", "b"]}), tmp_path / "0.parquet")
    pq.write_table(pa.Table.from_pylist([row(clip, "0.parquet") for clip in "ab"]), tmp_path / "index" / "0.parquet")
    withdraw.remove_ids(str(tmp_path), {"a"}, HERE)
    left = pq.ParquetFile(tmp_path / "0.parquet")
    assert left.read()["clip_id"].to_pylist() == ["b"]
    first = left.metadata.row_group(0).column(0)
    assert (first.path_in_schema, first.compression, first.has_offset_index) == ("video.bytes", "UNCOMPRESSED", True)


@pytest.mark.parametrize(
    "rows",
    [
        [{"video_id": "v1"}, {"video_id": "v2"}],
        [
            {"clip_id": "a", "video_id": "v1"},
            {"clip_id": None, "video_id": "v1"},
            {"clip_id": "b", "video_id": "v2"},
            {"clip_id": None, "video_id": "v2"},
        ],
    ],
    ids=["videos", "clips, and videos without any"],
)
def test_rows_without_a_clip_go_by_their_video(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "index").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0.parquet")
    listed = [row("", "0.parquet") | {"clip_id": None} | known for known in rows]
    listed = [entry | {"name": entry["clip_id"]} for entry in listed]
    pq.write_table(pa.Table.from_pylist(listed, shards.SCHEMA), tmp_path / "index" / "0.parquet")
    withdraw.remove_ids(str(tmp_path), {"v1", "a"}, HERE)
    assert pq.read_table(tmp_path / "0.parquet").to_pylist() == [known for known in rows if known["video_id"] == "v2"]
    assert not paths(tmp_path, {"v1", "a"})
    assert paths(tmp_path, {"v2"}) == {"0.parquet"}
