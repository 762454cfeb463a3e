"""Parts of an export: files and an index that appear whole, and batches sliced by part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.export_rows import batches, clip, files, index, part
from udfs.core.errors import MediaError, StoreError
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
    assert [(row["clip_id"], row["shared"]) for row in index(tmp_path / "to")] == [(None, False)]


def test_a_part_says_by_which_codes_clips_are_left_out(tmp_path: Path) -> None:
    rows = [clip(tmp_path, name) for name in "abc"]
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "b.mp4").write_bytes(b"other")
    list(shards.rows(batches(rows), huggingface.write, str(tmp_path / "to"), ENV, TotalCounter()))
    summary = shards.part_summary(str(tmp_path / "to"), "00000", Sources())
    assert summary is not None
    assert summary.note == {"num_failed": 2, "failed": {"CHANGED": 1, "NOT_FOUND": 1}}


def test_a_store_that_answers_for_no_clip_of_a_part_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object) -> None:
        raise MediaError("UNREACHABLE", "the store is down")

    rows, to = [clip(tmp_path, name) for name in "abc"], str(tmp_path / "to")
    monkeypatch.setattr(shards, "_checked", unreachable)
    with pytest.raises(StoreError, match=r"^none of the 3 clips of part 00000 could be read: the store is down$"):
        list(shards.rows(batches(rows), huggingface.write, to, ENV, TotalCounter()))
    assert shards.part_summary(to, "00000", Sources()) is None
    list(shards.rows(batches(rows[:2]), huggingface.write, to, ENV, TotalCounter()))  # few may be odd files
    assert shards.part_summary(to, "00000", Sources()) is not None


def test_a_store_that_takes_no_file_stops_the_run_in_one_line(tmp_path: Path) -> None:
    def write(_: Part, __: Iterator[pa.RecordBatch]) -> None:
        raise MediaError("UNREACHABLE", "503 SlowDown, at the last of 9 tries")

    with pytest.raises(StoreError, match=r"^part 00000 of s3://b/x cannot be written: UNREACHABLE: 503 SlowDown"):
        list(shards.rows(batches([clip(tmp_path, "a")]), write, "s3://b/x", ENV, TotalCounter()))
