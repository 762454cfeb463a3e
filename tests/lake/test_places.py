"""Folders to write to have one name in every process."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config.errors import UsageError
from jobs.lake import places
from udfs.storage.settings import Params


def test_a_folder_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.place("--to", "out/", Params()) == str(tmp_path / "out")


def test_a_path_of_databricks_keeps_its_scheme_for_the_output_alone() -> None:
    assert places.output("dbfs:/reels/out", Params()) == "dbfs:/reels/out"
    assert places.place("--to", "dbfs:/reels/out", Params()) == "/dbfs/reels/out"


def test_a_prefix_of_a_store_ends_without_a_slash() -> None:
    assert places.normal("s3://bucket/out/") == "s3://bucket/out"


@pytest.mark.parametrize(("name", "line"), [("", "an empty name"), ("gs://bucket/x", "no reader for gs:// addresses")])
def test_what_is_no_place_is_refused(name: str, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        places.place("--to", name, Params())


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        places.place("--to", str(tmp_path / "file"), Params())


def test_an_output_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^--output {tmp_path}: no tables here$"):
        places.check_tables(str(tmp_path), None, Params())
    (tmp_path / places.LOCK).touch()
    with pytest.raises(UsageError, match=r"no tables here yet: the run that began here has written none so far$"):
        places.check_tables(str(tmp_path), None, Params())
    places.check_tables(str(tmp_path), "films", Params())  # whose tables may lie elsewhere
    (tmp_path / "tables").mkdir()
    places.check_tables(str(tmp_path), None, Params())
