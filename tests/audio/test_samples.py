"""Samples: gaps between frames become silence, overlaps are cut, and jitter changes nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.audio.frame import AudioFrame

from udfs.audio import samples
from udfs.audio.samples import SampleFormat, Samples

RATE_HZ = 8000
MONO = SampleFormat(RATE_HZ, "mono")


def tone(at_s: float, length_s: float = 0.1, level: float = 0.5, channels: int = 1) -> AudioFrame:
    """A frame of one value that begins at a time."""
    layout = "mono" if channels == 1 else f"{channels} channels"
    values = np.full((1, channels * round(length_s * RATE_HZ)), level, np.float32)
    frame = AudioFrame.from_ndarray(values, format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, round(at_s * RATE_HZ), Fraction(1, RATE_HZ)
    return frame


def levels(frames: list[AudioFrame], start_s: float = 0.0, end_s: float = 10.0) -> list[float]:
    """The level in the middle of each 0.1 s of the samples."""
    pieces: list[Samples] = list(samples.lay_out_frames(frames, MONO, start_s, end_s))
    joined = np.concatenate(pieces, axis=1)[0]
    return [round(float(level), 3) for level in joined[RATE_HZ // 20 :: RATE_HZ // 10]]


def test_frames_that_follow_one_another_keep_their_order() -> None:
    assert levels([tone(0.0, level=0.1), tone(0.1, level=0.2), tone(0.2, level=0.3)]) == [0.1, 0.2, 0.3]


def test_a_gap_becomes_silence() -> None:
    after = [tone(0.4 + k / 10) for k in range(10)]
    assert levels([tone(0.0), tone(0.1), *after]) == [0.5, 0.5, 0.0, 0.0, *[0.5] * 10]


def test_a_single_time_that_is_off_makes_no_gap() -> None:
    frames = [tone(k / 10 + (0.05 if k == 3 else 0)) for k in range(12)]
    assert levels(frames) == [0.5] * 12


def test_an_overlap_is_cut() -> None:
    frames = [*(tone(k / 10, level=0.1) for k in range(12)), *(tone(1 + k / 10, level=0.9) for k in range(10))]
    assert levels(frames) == [*[0.1] * 12, *[0.9] * 8]


def test_only_the_samples_of_the_span_are_kept() -> None:
    frames = [tone(k / 10, level=k / 100) for k in range(10)]
    assert levels(frames, 0.2, 0.5) == [0.02, 0.03, 0.04]


def test_of_more_channels_than_can_be_mixed_the_first_two_are_taken() -> None:
    (piece,) = samples.lay_out_frames([tone(0.0, channels=16)], SampleFormat(RATE_HZ, "stereo"), 0.0, 1.0)
    assert piece.shape == (2, RATE_HZ // 10)
