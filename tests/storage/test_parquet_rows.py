"""Parquet manifests: which files count, which folders are columns, and which files are refused."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from udfs.storage import parquet_rows
from udfs.storage.manifest import ManifestError
from udfs.storage.settings import Params


def test_hidden_files_and_folders_do_not_count_but_partitions_do(tmp_path: Path) -> None:
    top = tmp_path / "_hidden" / "list.parquet"  # a hidden folder above the manifest hides nothing
    names = ("a.parquet", "day=1/b.parquet", "_day=2/c.parquet", "_SUCCESS", "d.txt")
    hidden = (".e.parquet", "_f.parquet", "_temporary/0/g.parquet", ".staging/h.parquet")
    for name in (*names, *hidden):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    expected = sorted(str(top / name) for name in names[:3])
    assert parquet_rows.files(str(top), Params()) == expected
    assert parquet_rows.files(expected[0], Params()) == expected[:1]


def test_only_partitions_below_the_manifest_are_columns(tmp_path: Path) -> None:
    top = tmp_path / "above=0" / "list.parquet"
    (top / "day=a%20b").mkdir(parents=True)
    file = str(top / "day=a%20b" / "part.parquet")
    pq.write_table(pa.table({"uri": ["/v.mp4"], "size": [1]}), file)
    uris = pa.RecordBatch.from_pydict({"file": [file]})
    assert _read([uris], str(top)) == [{"uri": "/v.mp4", "attributes": [("day", "a b"), ("size", "1")]}]
    assert _read([uris], file) == [{"uri": "/v.mp4", "attributes": [("size", "1")]}]


def test_a_file_without_the_column_is_named(tmp_path: Path) -> None:
    for name, column in (("a", "uri"), ("b", "URI"), ("c", "path")):
        pq.write_table(pa.table({column: [f"/{name}.mp4"]}), tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in "abc"]
    first = [pa.RecordBatch.from_pydict({"file": files[:2]})]
    assert [row["uri"] for row in _read(first, str(tmp_path))] == ["/a.mp4", "/b.mp4"]
    with pytest.raises(ManifestError, match=f"^{files[2]}: no column uri, but `path`: "):
        _read([pa.RecordBatch.from_pydict({"file": files})], str(tmp_path))


def _read(uris: list[pa.RecordBatch], top: str) -> list[dict[str, object]]:
    return [row for batch in parquet_rows.rows(uris, top, "uri", Params()) for row in batch.to_pylist()]
