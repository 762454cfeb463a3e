"""What is left of deleted videos is found in rows, in files that no version reads, and in names of media."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.config.settings import load
from jobs.lake import remains
from jobs.lake.run import Run
from tests.support.two_settings import CLIPS, add, media

pytestmark = pytest.mark.spark
CLIP, OTHER = CLIPS[:2]


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path) -> Run:
    """A run over an output with a failure of one clip and a copy of another, and a media file of each."""
    add(tmp_path, "failures", [{"key": CLIP, "stage": "embed"}])
    add(tmp_path, "failures", [{"key": OTHER, "stage": "embed"}])
    add(tmp_path, "copies", [{"clip_id": OTHER, "copy_of": "another"}])
    for clip in (CLIP, OTHER):
        media(tmp_path, clip, [])
    return Run(spark, str(tmp_path), load([], []))


def left(run: Run, clip: str) -> dict[str, int]:
    """What is left of a clip, where anything is."""
    rows: DataFrame = run.spark.createDataFrame([(clip,)], "id string")
    counts = remains.num_remains(run, rows, rows.toDF("clip_id"))
    assert {f"rows of {name}" for name in remains.searched_tables(run)} < counts.keys()
    return {where: count for where, count in counts.items() if count}


def test_a_row_is_found_by_any_column_of_text(run: Run) -> None:
    assert left(run, "another") == {"rows of copies": 1, "rows in files of copies": 1}
    assert left(run, OTHER) == {
        "rows of copies": 1,
        "rows of failures": 1,
        "rows in files of copies": 1,
        "rows in files of failures": 1,
        "media files": 1,
    }
    assert left(run, "none") == {}


def test_a_deleted_row_is_found_in_the_file_of_an_old_version(run: Run) -> None:
    DeltaTable(Path(run.output) / "tables" / "failures").delete(f"key = '{CLIP}'")
    assert left(run, CLIP) == {"rows in files of failures": 1, "media files": 1}


def test_the_record_of_a_takedown_is_no_remainder(run: Run) -> None:
    add(
        Path(run.output),
        "takedowns",
        [{"video_id": "taken", "uri": "/taken.mp4", "taken_at": datetime(2026, 1, 1, tzinfo=UTC)}],
    )
    assert remains.searched_tables(run) == ["copies", "failures"]
    assert left(run, "taken") == {}
