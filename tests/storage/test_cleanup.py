"""Media files of an output: listed with their places and sizes, and deleted with a count of what was there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from udfs.runtime.context import Row
from udfs.storage import cleanup, media_store
from udfs.storage.settings import Params as Sources


def media(root: Path, key: str, content: bytes = b"x", changed_s: float = 1e9) -> str:
    """Write a media file of a clip."""
    uri = media_store.media_uri(str(root), "clips", key, "f" * 16, ".mp4")
    os.makedirs(os.path.dirname(uri), exist_ok=True)
    Path(uri).write_bytes(content)
    os.utime(uri, (changed_s, changed_s))
    return uri


def listed(*folders: str) -> list[pa.RecordBatch]:
    """The batches of files in folders that come in batches of one."""
    batches = [pa.RecordBatch.from_pydict({"folder": [folder]}) for folder in folders]
    return list(cleanup.list_files(batches, Sources()))


def rows(batches: Iterable[pa.RecordBatch]) -> list[Row]:
    """The rows of batches."""
    return [row for batch in batches for row in batch.to_pylist()]


def removed(*files: tuple[str, int]) -> list[Row]:
    """What deleting files of these sizes says."""
    facts = [{"uri": uri, "place": media_store.path_in_root(uri), "num_bytes": size} for uri, size in files]
    return rows(cleanup.remove_files([pa.RecordBatch.from_pylist(facts, schema=cleanup.FILES)], Sources()))


def test_every_file_is_a_row_with_the_place_by_which_tables_name_it(tmp_path: Path) -> None:
    uris = [media(tmp_path, "abcd", b"12345", 1e9), media(tmp_path, "cdef", b"1", 2e9)]
    batches = listed(*media_store.folders(str(tmp_path), Sources()))
    assert all(batch.schema == cleanup.FILES for batch in batches)
    assert sorted(rows(batches), key=lambda row: row["uri"]) == [
        {"uri": uris[0], "place": f"clips/ab/abcd-{'f' * 8}.mp4", "num_bytes": 5, "changed_s": 1e9},
        {"uri": uris[1], "place": f"clips/cd/cdef-{'f' * 8}.mp4", "num_bytes": 1, "changed_s": 2e9},
    ]


def test_a_large_folder_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "BATCH_FILES", 2)
    uris = {media(tmp_path, f"ab{k}") for k in range(5)}
    batches = listed(f"{tmp_path}/clips/ab")
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    assert {row["uri"] for row in rows(batches)} == uris


def test_links_folders_and_what_is_gone_are_no_files(tmp_path: Path) -> None:
    uri = media(tmp_path, "abcd")
    Path(f"{uri}.link").symlink_to(uri)
    Path(f"{uri}.folder").mkdir()
    assert [row["uri"] for row in rows(listed(f"{tmp_path}/clips/ab", f"{tmp_path}/clips/gone"))] == [uri]


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    uri = media(tmp_path, "abcd")
    with media_store.unfinished_folder(str(tmp_path)) as folder:
        Path(folder, "new.mp4").write_bytes(b"x")
        assert [row["uri"] for row in rows(listed(*media_store.folders(str(tmp_path), Sources())))] == [uri]


def test_deleting_counts_what_was_there(tmp_path: Path) -> None:
    kept, first, second = (media(tmp_path, key, b"12345") for key in ("abaa", "abbb", "abcc"))
    gone = kept.replace("abaa", "abzz")
    assert removed((first, 5), (gone, 7), (second, 5)) == [{"num_files": 2, "num_bytes": 10}]
    assert [row["uri"] for row in rows(listed(f"{tmp_path}/clips/ab"))] == [kept]
    assert removed((first, 5)) == [{"num_files": 0, "num_bytes": 0}]  # once more, after a retry
    assert removed() == [{"num_files": 0, "num_bytes": 0}]


def test_files_that_are_listed_can_be_deleted(tmp_path: Path) -> None:
    for key in ("abcd", "abef"):
        media(tmp_path, key, b"123")
    counts = rows(cleanup.remove_files(listed(f"{tmp_path}/clips/ab"), Sources()))
    assert counts == [{"num_files": 2, "num_bytes": 6}]
    assert listed(f"{tmp_path}/clips/ab") == []


@pytest.mark.parametrize("settings", [{"keep_days": -1}, {"keep_settings": 0}, {"grace_hours": -1}, {"keep_hours": 1}])
def test_settings_out_of_bounds_are_refused(settings: Row) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(cleanup.Params).validate_python(settings)
