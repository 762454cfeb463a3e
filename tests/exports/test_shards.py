"""Parts of an export: files and an index that appear whole, and batches sliced by part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.export_rows import batches, clip, files, index, part
from udfs.exports import huggingface, parquet, shards
from udfs.exports.shards import Part
from udfs.runtime.context import Env
from udfs.storage.settings import Params as Sources

ENV = Env("unused", "f")


class TotalCounter:
    """A counter of parts."""

    total = 0

    def add(self, term: int) -> None:
        self.total += term


def test_parts_are_written_one_after_the_other_whatever_the_batches(tmp_path: Path) -> None:
    rows = [(name, clip(tmp_path, f"{name}{i}")) for name in ("a", "b", "c") for i in range(3)]
    table = pa.Table.from_batches([batch for name, row in rows for batch in batches([row], part=name)])
    counter = TotalCounter()
    results = shards.rows(iter(table.combine_chunks().to_batches(4)), parquet.write, str(tmp_path / "to"), ENV, counter)
    assert [row["part"] for batch in results for row in batch.to_pylist()] == ["a", "b", "c"]
    assert counter.total == 3
    for name in ("a", "b", "c"):
        assert pq.read_table(tmp_path / f"to/data/{name}.parquet")["clip_id"].to_pylist() == [
            f"{name}{i}" for i in range(3)
        ]


def test_a_part_that_fails_leaves_no_file_and_is_not_complete(tmp_path: Path) -> None:
    def write(new_part: Part, _: Iterator[pa.RecordBatch]) -> None:
        with new_part.file("data/half.bin", []) as path:
            Path(path).write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(shards.rows(batches([clip(tmp_path, "a")]), write, str(tmp_path / "to"), ENV, TotalCounter()))
    assert files(tmp_path / "to") == {}
    assert shards.part_summary(str(tmp_path / "to"), "00000", Sources()) is None


def test_a_part_is_complete_while_its_files_have_their_sizes(tmp_path: Path) -> None:
    new_part = part(tmp_path)
    with new_part.file("data/x.bin", []) as path:
        Path(path).write_bytes(b"four")
    assert new_part.close() == 4
    summary = shards.part_summary(str(tmp_path), "00000", Sources())
    assert summary is not None
    assert (summary.path, summary.num_files, summary.num_bytes, summary.num_clips) == ("data/x.bin", 1, 4, 0)
    (tmp_path / "data/x.bin").write_bytes(b"cut")
    assert shards.part_summary(str(tmp_path), "00000", Sources()) is None


def test_a_missing_file_is_a_failure_of_its_clip(tmp_path: Path) -> None:
    row = clip(tmp_path, "a")
    (tmp_path / "a.mp4").unlink()
    [results] = shards.rows(batches([row]), huggingface.write, str(tmp_path / "to"), ENV, TotalCounter())
    assert [(row["failed_key"], row["failed_code"]) for row in results.to_pylist()] == [
        (None, None),
        ("a", "NOT_FOUND"),
    ]
    assert index(tmp_path / "to")[0]["clip_id"] is None
