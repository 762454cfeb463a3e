"""Clips as a data set of FiftyOne: the layout that its importer reads, values that JSON lacks, and refusals."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import reelmill
from jobs.api import fiftyone
from jobs.config.errors import UsageError
from tests.support import small_output


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path / "output")


def samples(folder: Path) -> list[dict[str, Any]]:
    """The samples of a data set as FiftyOne's importer takes them: see FiftyOneDatasetImporter of 1.x.

    A `metadata.json` without a version is read by the importer of the older format. It takes the
    media type from there, and of a video the file with the labels of its frames.
    """
    metadata = json.loads((folder / "metadata.json").read_text())
    assert "version" not in metadata
    assert metadata["media_type"] == "video"
    found: list[dict[str, Any]] = json.loads((folder / "samples.json").read_text())["samples"]
    for sample in found:
        assert json.loads((folder / sample["frames"]).read_text()) == {"frames": {}}
        assert Path(sample["filepath"]).is_absolute()
    return found


def test_every_clip_is_a_sample_with_its_verdict(output: Path, tmp_path: Path) -> None:
    assert reelmill.open(output).clips().fiftyone(tmp_path / "data") == 4
    by_clip = {sample["clip_id"]: sample for sample in samples(tmp_path / "data")}
    assert by_clip.keys() == {"c1", "c2", "c3", "c4"}
    kept, dropped = by_clip["c1"], by_clip["c2"]
    assert (kept["filepath"], kept["tags"]) == ("/out/c1.mp4", ["kept"])
    assert kept["verdict"] == {"_cls": "Classification", "label": "kept"}
    assert dropped["dropped_by"] == {
        "_cls": "Classifications",
        "classifications": [
            {"_cls": "Classification", "label": "motion"},
            {"_cls": "Classification", "label": "blur"},
        ],
    }
    assert dropped["tags"] == ["dropped", "motion", "blur"]


def test_scores_times_and_previews_are_fields(output: Path, tmp_path: Path) -> None:
    reelmill.open(output).clips().fiftyone(tmp_path / "data")
    by_clip = {sample["clip_id"]: sample for sample in samples(tmp_path / "data")}
    first = by_clip["c1"]
    assert (first["motion_score_global_mean"], first["start_s"], first["end_s"]) == (0.00123456, 0.0, 4.5)
    assert (first["video_uri"], first["preview"]) == ("/v/park.mp4", "/out/media/previews/c1.webp")
    assert first["metadata"]["_cls"] == "VideoMetadata"
    assert first["metadata"]["duration"] == 4.5
    assert by_clip["c4"]["duplicate_of"] == "c1"
    assert "motion_score_global_mean" not in by_clip["c3"]  # infinite
    assert not {"fingerprint", "run_id", "kept", "uri"} & set(first)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_of_another_kind_gets_into_json(value: float, tmp_path: Path) -> None:
    row = dict.fromkeys((*fiftyone.METADATA.values(), "reasons")) | {"uri": "/a.mp4", "kept": None, "score": value}
    fiftyone.write([row], str(tmp_path))
    [sample] = samples(tmp_path)
    assert "score" not in sample
    assert sample["verdict"]["label"] == "no verdict"


def test_a_second_time_replaces_the_first(output: Path, tmp_path: Path) -> None:
    library = reelmill.open(output)
    library.clips().fiftyone(tmp_path / "data")
    assert library.clips("kept").fiftyone(tmp_path / "data") == 2
    assert {sample["tags"][0] for sample in samples(tmp_path / "data")} == {"kept"}
    assert library.clips("false").fiftyone(tmp_path / "none") == 0
    assert samples(tmp_path / "none") == []


def test_clips_in_a_store_are_refused(output: Path, tmp_path: Path) -> None:
    verdicts = [{**row, "uri": f"s3://bucket/{row['clip_id']}.mp4"} for row in small_output.VERDICTS]
    shutil.rmtree(output / "tables/verdicts")
    small_output.fill(output, "verdicts", verdicts, "filter")
    with pytest.raises(UsageError, match=r"^s3://bucket/c1.mp4: FiftyOne opens local files"):
        reelmill.open(output).clips("clip_id = 'c1'").fiftyone(tmp_path / "data")


def test_a_folder_that_cannot_be_written_is_one_line(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/data: Not a directory"):
        reelmill.open(output).clips().fiftyone(tmp_path / "file/data")
