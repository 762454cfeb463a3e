"""Parquet exports: the columns of the query, in row groups independent of Spark's batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.export_rows import batches, clip, files, index, part
from udfs.exports import parquet
from udfs.exports.shards import CLIP
from udfs.runtime.context import Row


def write(to: Path, rows: Iterator[pa.RecordBatch]) -> Path:
    """The file of an export of these batches."""
    new_part = part(to)
    parquet.write(new_part, rows)
    new_part.close()
    return to / "data/00000.parquet"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_file_does_not_depend_on_the_sizes_of_batches(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP", 4)
    rows: list[Row] = [{"n": i, "vector": [i / 7] * 50, "name": f"row {i % 3}"} for i in range(10)]
    for name, batch_size in (("one", 10), ("other", size)):
        write(tmp_path / name, batches(rows, batch_size))
    assert files(tmp_path / "one") == files(tmp_path / "other")
    file = pq.ParquetFile(tmp_path / "one/data/00000.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 2]
    assert file.read().to_pylist() == rows


def test_a_file_has_the_columns_of_the_query_and_no_others(tmp_path: Path) -> None:
    path = write(tmp_path / "to", batches([clip(tmp_path, "a", score=0.5), clip(tmp_path, "b", score=None)]))
    assert pq.read_table(path).to_pylist() == [{"clip_id": "a", "score": 0.5}, {"clip_id": "b", "score": None}]


def test_the_index_names_the_clips_of_a_file_once_each(tmp_path: Path) -> None:
    write(tmp_path / "to", batches([clip(tmp_path, name) for name in ("a", "b", "a")]))
    assert [(row["clip_id"], row["video_id"], row["shared"]) for row in index(tmp_path / "to")] == [
        ("a", "v1", True),
        ("b", "v1", True),
    ]


def test_rows_without_clip_or_video_are_one_unnamed_entry_of_the_index(tmp_path: Path) -> None:
    write(tmp_path / "to", batches([{"n": 1}, {"n": 2}]))
    assert [(row["clip_id"], row["path"]) for row in index(tmp_path / "to")] == [(None, "data/00000.parquet")]


def test_rows_without_an_id_are_in_the_index_beside_those_with_one(tmp_path: Path) -> None:
    write(tmp_path / "to", batches([clip(tmp_path, "a"), {"clip_id": None, CLIP: None}, clip(tmp_path, "b")], 1))
    assert [(row["clip_id"], row["shared"]) for row in index(tmp_path / "to")] == [
        ("a", True),
        (None, True),
        ("b", True),
    ]


def test_the_size_of_a_row_is_one_and_a_full_file_has_rows_per_file() -> None:
    assert parquet.cost_sql(parquet.Params(rows_per_file=7)) == ("1", 7)
