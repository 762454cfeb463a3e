"""Parquet manifests read by pyarrow: which files of a folder count."""

from __future__ import annotations

from pathlib import Path

from udfs import parquetrows
from udfs.source import Params


def test_hidden_files_and_folders_do_not_count_but_partitions_do(tmp_path: Path) -> None:
    top = tmp_path / "_hidden" / "list.parquet"  # a hidden folder above the manifest hides nothing
    names = ("a.parquet", "day=1/b.parquet", "_day=2/c.parquet", "_SUCCESS", "d.txt")
    hidden = (".e.parquet", "_f.parquet", "_temporary/0/g.parquet", ".staging/h.parquet")
    for name in (*names, *hidden):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    expected = sorted(str(top / name) for name in names[:3])
    assert parquetrows.files(str(top), Params()) == expected
    assert parquetrows.files(expected[0], Params()) == expected[:1]
