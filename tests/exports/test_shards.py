"""parts: files and an index that appear whole, batches cut where a part begins, groups of rows however Spark cut its batches."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.export_rows import batches, clip, files, index, media, part
from udfs.exports import huggingface, parquet, shards
from udfs.exports.shards import CLIP, Part
from udfs.runtime.batching import Env, Row
from udfs.storage import access

ENV = Env("unused", "f")


class Told:
    """Counts what it is told of."""

    total = 0

    def add(self, term: int) -> None:
        self.total += term


def test_parts_are_written_one_after_the_other_wherever_a_batch_ends(tmp_path: Path) -> None:
    rows = [(name, clip(tmp_path, f"{name}{i}")) for name in ("a", "b", "c") for i in range(3)]
    every = pa.Table.from_batches([batch for name, row in rows for batch in batches([row], part=name)])
    told = Told()
    found = shards.rows(iter(every.combine_chunks().to_batches(4)), parquet.write, str(tmp_path / "to"), ENV, told)
    assert [row["part"] for batch in found for row in batch.to_pylist()] == ["a", "b", "c"]
    assert told.total == 3
    for name in ("a", "b", "c"):
        assert pq.read_table(tmp_path / f"to/data/{name}.parquet")["clip_id"].to_pylist() == [
            f"{name}{i}" for i in range(3)
        ]


def test_a_part_that_breaks_leaves_no_file_and_is_not_complete(tmp_path: Path) -> None:
    def write(made: Part, _: Iterator[pa.RecordBatch]) -> None:
        with made.file("data/half.bin", []) as path:
            Path(path).write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(shards.rows(batches([clip(tmp_path, "a")]), write, str(tmp_path / "to"), ENV, Told()))
    assert files(tmp_path / "to") == {}
    assert shards.summary(str(tmp_path / "to"), "00000", access.Params()) is None


def test_a_part_is_complete_as_long_as_its_files_are_there(tmp_path: Path) -> None:
    made = part(tmp_path)
    with made.file("data/x.bin", []) as path:
        Path(path).write_bytes(b"four")
    assert made.close() == 4
    found = shards.summary(str(tmp_path), "00000", access.Params())
    assert found is not None
    assert (found.path, found.num_files, found.num_bytes, found.num_clips) == ("data/x.bin", 1, 4, 0)
    (tmp_path / "data/x.bin").write_bytes(b"cut")
    assert shards.summary(str(tmp_path), "00000", access.Params()) is None


def test_a_file_that_is_gone_is_a_failure_of_its_clip(tmp_path: Path) -> None:
    row = clip(tmp_path, "a")
    (tmp_path / "a.mp4").unlink()
    [found] = shards.rows(batches([row]), huggingface.write, str(tmp_path / "to"), ENV, Told())
    assert [(row["failed_key"], row["failed_code"]) for row in found.to_pylist()] == [(None, None), ("a", "NOT_FOUND")]
    assert index(tmp_path / "to")[0]["clip_id"] is None


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_parquet_file_does_not_show_how_its_rows_came(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP", 4)
    rows: list[Row] = [{"n": i, "vector": [i / 7] * 50, "name": f"row {i % 3}"} for i in range(10)]
    for name, batch_size in (("one", 10), ("other", size)):
        made = part(tmp_path / name)
        parquet.write(made, batches(rows, batch_size))
        made.close()
    assert files(tmp_path / "one") == files(tmp_path / "other")
    written = pq.ParquetFile(tmp_path / "one/data/00000.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [4, 4, 2]
    assert written.read().to_pylist() == rows


def test_a_data_set_for_hugging_face_holds_the_videos_in_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "GROUP_BYTES", 150)
    tags = pa.array([[("k", "v")], None, []], pa.map_(pa.string(), pa.string()))
    [batch] = batches([clip(tmp_path, name) for name in "abc"])
    made = part(tmp_path / "to")
    huggingface.write(made, iter([batch.append_column("tags", tags)]))
    made.close()
    written = pq.ParquetFile(tmp_path / "to/data/00000.parquet")
    assert [written.metadata.row_group(i).num_rows for i in range(written.num_row_groups)] == [2, 1]
    found = written.read().to_pylist()
    assert [row["video"] for row in found] == [{"bytes": n.encode() * 100, "path": f"{n}.mp4"} for n in "abc"]
    assert [row["tags"] for row in found] == [[{"key": "k", "value": "v"}], None, []]


def written(folder: Path, videos: list[bytes]) -> Path:
    """An export of these videos."""
    names = [f"c{i:02}" for i in range(len(videos))]
    rows = [{"clip_id": n, CLIP: media(folder / f"{n}.mp4", video)} for n, video in zip(names, videos, strict=True)]
    [batch] = batches(rows)
    made = part(folder / "to")
    huggingface.write(made, iter([batch]))
    made.close()
    return folder / "to/data/00000.parquet"


def test_videos_lie_in_the_file_as_they_are_and_can_be_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(huggingface, "GROUP_BYTES", 3_000_000)
    random = Random(1)
    videos = [random.randbytes(700_000) for _ in range(10)]
    path = written(tmp_path, videos)
    data = path.read_bytes()
    starts = [data.index(video) for video in videos]
    gaps = [after - before - len(videos[0]) for before, after in pairwise(starts)]
    assert all(gap > 20 for gap in gaps)  # a page's head: in one page a video follows after the 4 bytes of its length
    assert len(data) < sum(map(len, videos)) + 20_000
    table = pq.ParquetFile(path)
    for group in (table.metadata.row_group(i) for i in range(table.num_row_groups)):
        columns = {(column := group.column(i)).path_in_schema: column for i in range(group.num_columns)}
        assert columns["video.bytes"].compression == "UNCOMPRESSED"
        assert not {"RLE_DICTIONARY", "PLAIN_DICTIONARY"} & set(columns["video.bytes"].encodings)
        assert {column.compression for name, column in columns.items() if name != "video.bytes"} == {"ZSTD"}
        assert all(column.has_offset_index for column in columns.values())
    assert [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)] == [5, 5]
    found = pq.read_table(path, filters=[("clip_id", "==", "c07")])
    assert found["video"].to_pylist() == [{"bytes": videos[7], "path": "c07.mp4"}]
    stream = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    rows = list(stream.cast_column("video", datasets.Video(decode=False)))
    assert [row["video"]["bytes"] for row in rows] == videos


def test_a_reader_fetches_one_row_group_to_see_one_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "GROUP_BYTES", 1_000_000)
    videos = [bytes([i]) * 500_000 for i in range(10)]
    path = written(tmp_path, videos)
    read: list[int] = []

    class Counted(io.FileIO):
        """Counts the bytes that are read."""

        def read(self, size: int | None = -1, /) -> bytes:
            data: bytes = super().read(size) or b""
            read.append(len(data))
            return data

    with Counted(str(path)) as file:
        table = pq.ParquetFile(file).read_row_group(3)
    assert [row["bytes"] for row in table["video"].to_pylist()] == videos[6:8]
    assert sum(read) < 1_100_000


def test_features_are_named_as_datasets_names_them() -> None:
    import datasets

    types = [pa.string(), pa.int32(), pa.float64(), pa.float32(), pa.bool_(), pa.timestamp("us", tz="UTC")]
    types += [
        pa.list_(pa.float32()),
        pa.list_(pa.struct([("a", pa.int64())])),
        pa.struct([("b", pa.list_(pa.string()))]),
    ]
    schema = huggingface.featured(pa.schema([(f"c{i}", type_) for i, type_ in enumerate(types)]))
    features = datasets.Features.from_arrow_schema(schema)
    assert isinstance(features["video"], datasets.Video)
    assert features.arrow_schema.types == schema.types
