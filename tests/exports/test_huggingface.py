"""Hugging Face exports: videos in Parquet files that `datasets` reads, and the data card."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.export_rows import batches, clip, media, part
from udfs.exports import huggingface
from udfs.exports.shards import CLIP


def write(to: Path, batch: pa.RecordBatch) -> Path:
    """The file of an export of one batch."""
    new_part = part(to)
    huggingface.write(new_part, iter([batch]))
    new_part.close()
    return to / "data/00000.parquet"


def test_a_file_holds_the_videos_in_row_groups_and_maps_as_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "GROUP_BYTES", 150)
    tags = pa.array([[("k", "v")], None, []], pa.map_(pa.string(), pa.string()))
    [batch] = batches([clip(tmp_path, name) for name in "abc"])
    file = pq.ParquetFile(write(tmp_path / "to", batch.append_column("tags", tags)))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 1]
    rows = file.read().to_pylist()
    assert [row["video"] for row in rows] == [{"bytes": n.encode() * 100, "path": f"{n}.mp4"} for n in "abc"]
    assert [row["tags"] for row in rows] == [[{"key": "k", "value": "v"}], None, []]


def write_videos(folder: Path, videos: list[bytes]) -> Path:
    """The file of an export of these videos."""
    names = [f"c{i:02}" for i in range(len(videos))]
    rows = [{"clip_id": n, CLIP: media(folder / f"{n}.mp4", video)} for n, video in zip(names, videos, strict=True)]
    [batch] = batches(rows)
    return write(folder / "to", batch)


def test_videos_are_stored_unchanged_in_pages_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(huggingface, "GROUP_BYTES", 3_000_000)
    random = Random(1)
    videos = [random.randbytes(700_000) for _ in range(10)]
    path = write_videos(tmp_path, videos)
    data = path.read_bytes()
    starts = [data.index(video) for video in videos]
    gaps = [after - before - len(videos[0]) for before, after in pairwise(starts)]
    assert all(gap > 20 for gap in gaps)  # a page header; within one page only 4 bytes of length lie between videos
    assert len(data) < sum(map(len, videos)) + 20_000
    table = pq.ParquetFile(path)
    for group in (table.metadata.row_group(i) for i in range(table.num_row_groups)):
        columns = {(column := group.column(i)).path_in_schema: column for i in range(group.num_columns)}
        assert columns["video.bytes"].compression == "UNCOMPRESSED"
        assert not {"RLE_DICTIONARY", "PLAIN_DICTIONARY"} & set(columns["video.bytes"].encodings)
        assert {column.compression for name, column in columns.items() if name != "video.bytes"} == {"ZSTD"}
        assert all(column.has_offset_index for column in columns.values())
    assert [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)] == [5, 5]
    match = pq.read_table(path, filters=[("clip_id", "==", "c07")])
    assert match["video"].to_pylist() == [{"bytes": videos[7], "path": "c07.mp4"}]
    stream = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    rows = list(stream.cast_column("video", datasets.Video(decode=False)))
    assert [row["video"]["bytes"] for row in rows] == videos


def test_a_reader_fetches_one_row_group_to_see_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "GROUP_BYTES", 1_000_000)
    videos = [bytes([i]) * 500_000 for i in range(10)]
    path = write_videos(tmp_path, videos)
    sizes: list[int] = []

    class CountingFile(io.FileIO):
        """Counts the bytes that are read."""

        def read(self, size: int | None = -1, /) -> bytes:
            data: bytes = super().read(size) or b""
            sizes.append(len(data))
            return data

    with CountingFile(str(path)) as file:
        table = pq.ParquetFile(file).read_row_group(3)
    assert [row["bytes"] for row in table["video"].to_pylist()] == videos[6:8]
    assert sum(sizes) < 1_100_000


def test_features_are_named_as_datasets_names_them() -> None:
    import datasets

    types = [pa.string(), pa.int32(), pa.float64(), pa.float32(), pa.bool_(), pa.timestamp("us", tz="UTC"), pa.date32()]
    types += [
        pa.list_(pa.float32()),
        pa.list_(pa.struct([("a", pa.int64())])),
        pa.struct([("b", pa.list_(pa.string()))]),
    ]
    schema = huggingface.feature_schema(pa.schema([(f"c{i}", type_) for i, type_ in enumerate(types)]))
    features = datasets.Features.from_arrow_schema(schema)
    assert isinstance(features["video"], datasets.Video)
    assert features.arrow_schema.types == schema.types


def test_the_card_has_the_metadata_of_the_hub_and_the_provenance() -> None:
    schema = huggingface.feature_schema(pa.schema([("clip_id", pa.string())]))
    release = {
        "counts": {"num_clips": 3, "num_files": 2, "num_bytes": 600},
        "models": {"embed": ["clip"]},
        "versions": {"reelmill": "1.0"},
        "code": None,
        "query": "select * from curated",
        "tables": {"clips": 4},
    }
    card = huggingface.card(schema, release, huggingface.Params(license="cc0-1.0", pretty_name="Films"))
    _, head, text = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert (metadata["license"], metadata["pretty_name"], metadata["tags"]) == ("cc0-1.0", "Films", ["video"])
    assert "3 clips in 2 files, 600 bytes" in text
    assert "select * from curated" in text
    assert json.dumps({"clips": 4}) in text
    assert "- embed: clip" in text
