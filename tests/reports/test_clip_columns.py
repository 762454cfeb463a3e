"""Clips as columns: nothing is lost but digits, and thresholds of few digits still decide exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.reports import clip_columns
from jobs.reports.clip_columns import Clips, Row
from jobs.reports.contents import Contents
from jobs.reports.gates import Score
from jobs.reports.rounding import Floats
from jobs.reports.selection import Selection
from tests.reports.conftest import asking

FAILS = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


def clip(clip_id: str, **values: Any) -> Row:
    """A row of a clip."""
    of = {"video": "/v/a.mp4", "start_s": 1.26, "duration_s": 2.0004, "reasons": [], "caption": None}
    return Row(clip_id, **{**of, "file": None, "preview": None, **values})


def test_what_repeats_is_there_once() -> None:
    preview = "s3://bucket/out/media/previews/ab/abc-0123-0_99.webp"
    rows = [clip("abc", preview=preview), clip("xyz", reasons=["black"], preview=preview.replace("ab/abc", "xy/xyz"))]
    found = clip_columns.columns(Clips(rows, {}))
    assert (found["id"], found["videos"], found["video"]) == (["abc", "xyz"], ["/v/a.mp4"], [0, 0])
    assert (found["start"], found["ms"]) == ([13, 13], [2000, 2000])
    assert (found["reasonSets"], found["reasonSet"]) == ([(), ("black",)], [0, 1])
    assert (found["previewNames"], found["preview"]) == (["previews/*-0123-0_99.webp"], [0, 0])
    assert (found["fileNames"], found["file"]) == ([None], [0, 0])


def test_addresses_have_no_secrets() -> None:
    found = clip_columns.columns(Clips([clip("a", video="https://me:secret@host/a.mp4?signature=1")], {}))
    assert found["videos"] == ["https://host/a.mp4"]


def test_a_score_that_no_clip_has_is_left_out(contents_of: Callable[..., Contents], small: Path) -> None:
    found = contents_of(small)
    names = [score["name"] for score in clip_columns.score_columns(found.clips, found.scores, 3)]
    assert names == ["motion_score_global_mean", "distance"]


@pytest.mark.parametrize("digits", [2, 3])
def test_every_threshold_decides_as_by_the_scores_themselves(
    contents_of: Callable[..., Contents], library: Path, digits: int
) -> None:
    found = contents_of(library)
    columns = clip_columns.score_columns(found.clips, found.scores, digits)
    assert len(columns) == 7
    for column in columns:
        [score] = [one for one in found.scores if one.name == column["name"]]
        assert len(column["stops"]) > 20
        for threshold in column["stops"]:
            assert np.array_equal(failing(column, threshold), truly_failing(score, found.clips, threshold)), column[
                "name"
            ]


def failing(column: dict[str, Any], threshold: float) -> Any:
    """Which clips fail by the rounded values, as the page's script finds them."""
    of = np.array([np.nan if place < 0 else column["values"][place] for place in column["index"]])
    return FAILS[column["gate"]["sign"]](of, threshold)


def truly_failing(score: Score, clips: Clips, threshold: float) -> Any:
    """Which clips fail by the scores themselves."""
    assert score.gate is not None
    values: Floats = score.compared(clips.scores[score.name])
    return FAILS[score.gate.sign](values, score.keys(np.array([threshold]))[0])


def test_a_histogram_leaves_out_outliers_and_shows_the_threshold(
    contents_of: Callable[..., Contents], library: Path
) -> None:
    found = contents_of(library)
    by_name = {column["name"]: column for column in clip_columns.score_columns(found.clips, found.scores, 3)}
    low, high = by_name["blur"]["range"]
    assert low <= 20 < high < max(by_name["blur"]["values"])


def test_of_too_many_clips_there_is_a_sample(contents_of: Callable[..., Contents], library: Path) -> None:
    scores = contents_of(library).scores
    few = clip_columns.sample(asking(library), Selection(), scores, 50)
    assert len(few.rows) == len(few.scores["blur"]) == 50
    every = sorted(row.clip_id for row in contents_of(library).clips.rows)
    assert sorted(row.clip_id for row in few.rows) == every[:50]
    assert [row.video for row in few.rows] == sorted(row.video for row in few.rows if row.video)
    assert len(few.thinned(20).rows) == 17


def test_captions_are_left_out_from_the_end() -> None:
    assert clip_columns.first_texts(["a", None, "b", "c"], 2) == ["a", None, "b", None]
