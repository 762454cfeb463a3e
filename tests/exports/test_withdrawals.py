"""What a takedown leaves in exports is one text per export, with what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import Settings
from jobs.exports import folders, withdrawals
from jobs.lake.run import Run
from tests.support.export_rows import batches, part
from udfs.exports import parquet


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run over an output, as far as exports need one: without Spark."""
    return Run(cast(SparkSession, None), str(tmp_path / "output"), Settings())


def test_rows_that_name_nothing_are_said_to_be_left_until_the_export_is_forgotten(run: Run, tmp_path: Path) -> None:
    to = str(tmp_path / "flat")
    parquet.write(flat := part(Path(to)), batches([{"n": 1}]))
    flat.close()
    folders.note(run, to)
    [note] = (tmp_path / "output/exports").iterdir()
    left = f"rows that name no clip and no video in the export {to} (delete it, or look through it and delete {note})"
    assert [*withdrawals.other_exports(run, [], {"v1"})] == [left]
    assert [*withdrawals.other_exports(run, [to], {"v1"})] == [left]
    note.unlink()
    assert [*withdrawals.other_exports(run, [], {"v1"})] == []
