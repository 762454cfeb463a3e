"""split: spans have the lengths that the settings ask for and hold exactly the frames they name."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.footage import read_number, write_numbered
from udfs import ingest, split
from udfs.core.errors import MediaError
from udfs.demux.timeline import Timeline
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env
from udfs.shots.spans import COLUMNS
from udfs.split import Params, fixed_stride_spans, scene_spans
from udfs.video import container, decode

ENV = Env(media_root="unused", fingerprint="0" * 16)
SMALL = (160, 120)


def video_row(path: Path) -> dict[str, Any]:
    """The row of table `videos` for a file."""
    return ingest.facts({"uri": str(path), "attributes": None}, ENV)[0]


@pytest.mark.parametrize(
    ("num_frames", "fps", "expected"),
    [
        (109, 30.0, [(0, 109 / 30)]),
        (377, 12.5, [(0, 10), (10, 20), (20, 30)]),
        (1189, 179 / 6, [(0, 10), (10, 20), (20, 30), (30, 1189 / (179 / 6))]),
        (250, 10.0, [(0, 10), (10, 20), (20, 25)]),
        (215, 10.0, [(0, 10), (10, 20)]),
        (58, 30.0, []),
    ],
)
def test_ten_second_spans_end_with_a_tail_of_two_seconds_or_more(
    num_frames: int, fps: float, expected: list[tuple[float, float]]
) -> None:
    assert fixed_stride_spans(num_frames / fps, Params()) == expected


def test_overlapping_strides_end_with_shorter_windows() -> None:
    spans = fixed_stride_spans(25.0, Params(clip_stride_s=5))
    assert spans == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 25)]


@pytest.mark.parametrize(
    ("suffix", "fps"),
    [
        (".mp4", Fraction(30)),
        (".mp4", Fraction(30_000, 1001)),
        (".mp4", Fraction(25, 2)),
        (".mp4", Fraction(179, 6)),
        (".mkv", Fraction(30_000, 1001)),
        (".ts", Fraction(30_000, 1001)),
        (".avi", Fraction(25)),
    ],
)
def test_a_span_holds_exactly_the_frames_it_names(tmp_path: Path, suffix: str, fps: Fraction) -> None:
    row = video_row(write_numbered(tmp_path / f"v{suffix}", 100, fps, SMALL, gop=40))
    spans = split.spans(row, Params(clip_len_s=1.1, min_clip_length_s=0.3), ENV)
    with container.open_video(row["uri"], ENV.limits) as video:
        numbers = [[read_number(f) for _, f in decode.frames(video, s["start_s"], s["end_s"])] for s in spans]
    assert numbers == [list(range(s["start_frame"], s["end_frame"])) for s in spans]


@given(st.integers(0, 10**6), st.sampled_from([8.0, 12.5, 24_000 / 1001, 29.97, 30.0, 179 / 6, 60.0, 120.0]))
def test_a_span_that_starts_at_a_frame_s_time_begins_with_that_frame(number: int, fps: float) -> None:
    assert Timeline(np.arange(2) / fps, 2 / fps, fps, is_even=True).first_frame(number / fps) == number


def test_a_video_shorter_than_the_shortest_clip_is_too_short(tmp_path: Path) -> None:
    row = video_row(write_numbered(tmp_path / "v.mp4", 58, size=SMALL))
    with pytest.raises(MediaError, match=r"TOO_SHORT: no clip in 1\.93 s of video"):
        split.spans(row, Params(), ENV)


def test_limit_clips_caps_the_spans_of_a_video(tmp_path: Path) -> None:
    row = video_row(write_numbered(tmp_path / "v.mp4", 120, size=SMALL))
    spans = split.spans(row, Params(clip_len_s=1, min_clip_length_s=1, limit_clips=2), ENV)
    assert [(s["start_s"], s["end_s"]) for s in spans] == [(0, 1), (1, 2)]


def test_the_crop_comes_off_the_scene_before_it_is_strided() -> None:
    assert scene_spans([(0.0, 25.0)], 25.0, Params()) == [(0.5, 10.5), (10.5, 20.5), (20.5, 24.5)]


def test_truncate_keeps_the_beginning_of_a_long_scene() -> None:
    assert scene_spans([(0.0, 25.0), (25.0, 30.0)], 30.0, Params(max_length_mode="truncate")) == [
        (0.5, 10.5),
        (25.5, 29.5),
    ]


def test_a_scene_too_short_after_the_crop_is_dropped_not_merged() -> None:
    assert scene_spans([(0.0, 5.0), (5.0, 7.9), (7.9, 13.0)], 13.0, Params()) == [(0.5, 4.5), (8.4, 12.5)]


def test_a_video_without_cuts_has_no_scene_where_entire_scenes_are_not_wanted() -> None:
    assert scene_spans([(0.0, 25.0)], 25.0, Params(entire_scene_as_clip=False)) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip_len_s": 0}, "clip_len_s"),
        ({"clip_len_s": math.nan}, "finite"),
        ({"clip_len_s": math.inf}, "finite"),
        ({"clip_stride_s": 0}, "clip_stride_s"),
        ({"clip_stride_s": 11}, "clip_stride_s 11.0 is over clip_len_s 10.0: spans would leave gaps"),
        ({"clip_len_s": 1}, "min_clip_length_s 2.0 is over clip_len_s 1.0: no span is left"),
        ({"min_length_s": 12}, "min_length_s 12.0 is over max_length_s 10.0: no span is left"),
        ({"limit_clips": -1}, "limit_clips"),
        ({"method": "transnet"}, "method"),
        ({"clip_length_s": 5}, "clip_length_s"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Params(**settings)


def test_a_batch_holds_the_columns_of_spans_and_failures_in_the_order_of_its_videos(tmp_path: Path) -> None:
    rows = [video_row(write_numbered(tmp_path / f"{n}.mp4", n, size=SMALL)) for n in (20, 90)]
    (batch,) = split.rows([pd.DataFrame(rows)], Params(), ENV)
    assert batch.columns.tolist() == [*COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert batch["failed_code"].tolist() == ["TOO_SHORT", None]
    assert batch["failed_key"].tolist() == [rows[0]["video_id"], None]
    assert batch["end_frame"].tolist() == [None, 90]
