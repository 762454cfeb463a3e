"""Samplers choose the first frame of each interval; luma is upright and full range."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from tests.support.footage import read_number, write_numbered
from udfs.core.limits import Limits
from udfs.frames.sampler import Luma, Sampler, bounded_size, coded_luma, luma
from udfs.video import container, decode
from udfs.video.rescale import Scaler

SIDES = st.integers(2, 8192)


def chosen_numbers(num_frames: int, framerate: Fraction, fps: float) -> list[int]:
    """The frames of an even clip that a sampler chooses."""
    sampler = Sampler(fps)
    return [k for k in range(num_frames) if sampler.takes(float(k / framerate))]


@given(st.integers(1, 300), st.sampled_from([Fraction(25), Fraction(30), Fraction(30_000, 1001)]), st.integers(1, 12))
def test_one_frame_is_chosen_in_each_interval_and_it_is_the_first(
    num_frames: int, framerate: Fraction, fps: int
) -> None:
    intervals = [int(k / framerate * fps) for k in range(num_frames)]
    assert chosen_numbers(num_frames, framerate, fps) == [intervals.index(i) for i in sorted(set(intervals))]


def test_a_slower_clip_keeps_every_frame() -> None:
    assert chosen_numbers(10, Fraction(3), 4) == list(range(10))


def test_a_frame_just_before_an_interval_by_rounding_belongs_to_it() -> None:
    sampler = Sampler(2)
    assert [sampler.takes(at_s) for at_s in (0.0, 0.4999, 0.51, 0.9)] == [True, True, False, False]


def test_an_interval_without_a_frame_is_skipped() -> None:
    sampler = Sampler(1)
    assert [sampler.takes(at_s) for at_s in (0.2, 3.7, 3.8, 4.0)] == [True, True, False, True]


def first_frame(path: Path) -> VideoFrame:
    """The first decoded frame of a file."""
    with container.open_video(str(path), Limits()) as video:
        return next(iter(decode.frames(video)))[1]


def gray(picture: Luma) -> Luma:
    """A luma picture as RGB, in which a number can be read."""
    return picture[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_luma_is_upright(tmp_path: Path, rotation: int) -> None:
    frame = first_frame(write_numbered(tmp_path / "a.mp4", 1, rotation=rotation, first=77))
    picture = luma(frame, Scaler())
    assert picture.shape == ((240, 320) if rotation % 180 == 0 else (320, 240))
    assert read_number(gray(picture)) == 77


@pytest.mark.parametrize("full_range", [False, True])
def test_luma_is_full_range_whatever_the_range_of_the_video(tmp_path: Path, full_range: bool) -> None:
    frame = first_frame(write_numbered(tmp_path / "a.mp4", 1, full_range=full_range, options={"crf": "5"}))
    picture = luma(frame, Scaler())
    assert np.median(picture[picture > 200]) == pytest.approx(235, abs=4)  # the white blocks
    assert np.median(picture[picture < 60]) == pytest.approx(20, abs=4)  # the black ones


def test_coded_luma_is_scaled_but_not_turned(tmp_path: Path) -> None:
    frame = first_frame(write_numbered(tmp_path / "a.mp4", 1, rotation=90))
    assert coded_luma(frame, (160, 120), Scaler()).shape == (120, 160)


@given(SIDES, SIDES, st.sampled_from([64, 256, 512]), st.sampled_from([2, 16]))
def test_a_bounded_size_has_the_multiple_and_is_never_larger(
    width: int, height: int, max_side_px: int, multiple: int
) -> None:
    sides = bounded_size((width, height), max_side_px, multiple)
    assert all(side % multiple == 0 and multiple <= side <= max_side_px for side in sides)
    assert all(new <= old + multiple for new, old in zip(sides, (width, height), strict=True))
