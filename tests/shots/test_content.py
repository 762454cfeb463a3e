"""Content detection finds cuts to the frame, at the times of the file's own clock."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.broken_files import join_files
from tests.support.clip_units import overwrite_packets
from tests.support.odd_streams import write_flat, write_scenes
from tests.support.odd_times import hold_last
from udfs import ingest, split
from udfs.runtime.context import Env
from udfs.shots import content
from udfs.split import Params
from udfs.video import container

ENV = Env(media_root="unused", fingerprint="0" * 16)


def at_25_fps(num_frames: int) -> list[float]:
    return [k / 25 for k in range(num_frames)]


def cuts_of(path: Path) -> tuple[list[float], float]:
    with container.open_video(str(path), ENV.limits) as video:
        return content.cut_times(video, content.adaptive_detector(threshold=3.0, min_content_val=15.0, window_width=2))


def spans_of(path: Path, **settings: Any) -> list[tuple[float, float]]:
    row = ingest.facts({"uri": str(path), "attributes": None}, ENV)[0]
    return [(s["start_s"], s["end_s"]) for s in split.spans(row, Params(method="content", **settings), ENV)]


def test_cuts_are_found_to_the_frame(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", at_25_fps(150), cuts=[40, 90])
    cuts_s, end_s = cuts_of(path)
    assert cuts_s == [40 / 25, 90 / 25]
    assert end_s == pytest.approx(150 / 25, abs=0.001)


def test_cuts_of_uneven_frames_are_reported_at_their_times(tmp_path: Path) -> None:
    times = [k / 30 for k in range(60)] + [2 + k / 10 for k in range(40)]
    cuts_s, _ = cuts_of(write_scenes(tmp_path / "v.mp4", times, cuts=[80]))
    assert cuts_s == pytest.approx([4.0], abs=0.001)


def test_cuts_count_from_the_first_frame_not_from_the_clock(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mkv", [5 + at for at in at_25_fps(90)], cuts=[45])
    assert cuts_of(path)[0] == pytest.approx([1.8], abs=0.001)


def test_two_cuts_close_together_are_both_found(tmp_path: Path) -> None:
    assert cuts_of(write_scenes(tmp_path / "v.mp4", at_25_fps(90), cuts=[40, 48]))[0] == [1.6, 1.92]


def test_frames_that_change_size_are_compared_in_one_size(tmp_path: Path) -> None:
    parts = [write_scenes(tmp_path / f"{w}.ts", at_25_fps(40), [c], (w, 120)) for w, c in ((160, 99), (200, 0))]
    cuts_s, end_s = cuts_of(join_files(tmp_path / "v.ts", *parts))
    assert len(cuts_s) == 1
    assert end_s == pytest.approx(80 / 25, abs=0.1)


def test_black_video_is_one_scene(tmp_path: Path) -> None:
    assert cuts_of(write_flat(tmp_path / "v.mp4", (160, 120), "libx264", "yuv420p", num_frames=30))[0] == []


def test_spans_are_the_scenes_without_their_cropped_ends(tmp_path: Path) -> None:
    first, second = spans_of(write_scenes(tmp_path / "v.mp4", at_25_fps(200), cuts=[100]))
    assert first == (0.5, 3.5)
    assert second == pytest.approx((4.5, 7.5), abs=0.001)


def test_no_span_holds_a_cut_or_overlaps_another(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", at_25_fps(240), cuts=[70, 130])
    spans = spans_of(path, min_length_s=0.5, max_length_s=1, crop_s=0)
    assert len(spans) == 3 + 2 + 4
    assert not any(start < cut < end for start, end in spans for cut in (70 / 25, 130 / 25))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_limit_clips_caps_scenes_too(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", at_25_fps(200), cuts=[100])
    assert spans_of(path, limit_clips=1) == [(0.5, 3.5)]


def test_a_picture_that_stays_at_the_end_is_footage(tmp_path: Path) -> None:
    path = hold_last(write_scenes(tmp_path / "v.mp4", at_25_fps(100), cuts=[60]), tmp_path / "held.mp4", 6.0)
    assert spans_of(path, crop_s=0, max_length_s=60)[-1] == pytest.approx((2.4, 3.96 + 6.0), abs=0.01)


def test_scenes_on_both_sides_of_a_long_hole_are_found(tmp_path: Path) -> None:
    whole = write_scenes(tmp_path / "v.mp4", at_25_fps(1400), cuts=[1350], size=(64, 48))
    path = overwrite_packets(whole, "video", slice(100, 1300), keep=0)
    assert spans_of(path, min_length_s=0.5, crop_s=0)[-1] == pytest.approx((1350 / 25, 1400 / 25), abs=0.05)
