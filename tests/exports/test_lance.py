"""Lance exports: one fragment per part, invisible before the commit."""

from __future__ import annotations

from pathlib import Path

import lance
import pytest

from tests.support.export_rows import batches, clip, index, part
from udfs.exports import lance as lance_export
from udfs.exports.shards import Part
from udfs.runtime.context import Row


def write(to: Path, name: str, rows: list[Row]) -> Part:
    """Write a part of an export."""
    new_part = part(to, name)
    lance_export.write(new_part, batches(rows))
    new_part.close()
    return new_part


def test_parts_are_fragments_that_readers_see_after_the_commit(tmp_path: Path) -> None:
    to = tmp_path / "to"
    parts = [write(to, name, [clip(tmp_path, name, vector=[1.0, 2.0])]) for name in ("00000", "00001")]
    with pytest.raises(ValueError, match="not found"):
        lance.dataset(str(to / "data.lance"))
    lance_export.commit(str(to), [new_part.note for new_part in parts])
    data = lance.dataset(str(to / "data.lance"))
    assert len(data.get_fragments()) == 2
    assert data.to_table().to_pylist() == [{"clip_id": name, "vector": [1.0, 2.0]} for name in ("00000", "00001")]


def test_a_second_commit_replaces_the_fragments(tmp_path: Path) -> None:
    to = tmp_path / "to"
    first, second = (write(to, name, [clip(tmp_path, name)]) for name in ("00000", "00001"))
    lance_export.commit(str(to), [first.note])
    lance_export.commit(str(to), [second.note])
    assert lance.dataset(str(to / "data.lance")).to_table()["clip_id"].to_pylist() == ["00001"]


def test_empty_lists_of_lists_are_written(tmp_path: Path) -> None:
    to = tmp_path / "to"
    rows: list[Row] = [{"boxes": [[1, 2]]}, {"boxes": []}]
    lance_export.commit(str(to), [write(to, "00000", rows).note])
    assert lance.dataset(str(to / "data.lance")).to_table().to_pylist() == rows


def test_the_index_names_the_data_file_and_its_clips(tmp_path: Path) -> None:
    write(tmp_path / "to", "00000", [clip(tmp_path, "a"), clip(tmp_path, "b")])
    entries = index(tmp_path / "to")
    assert [entry["clip_id"] for entry in entries] == ["a", "b"]
    assert {entry["path"] for entry in entries} == {
        str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to/data.lance/data").iterdir()
    }
