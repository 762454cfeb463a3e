"""Frame selection by time, compared with the same rules in whole numbers over all frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udfs.demux.timeline import BOUNDARY_TOLERANCE_S
from udfs.frames.timestamps import frames_on_screen, middles, nearest_frames

TICKS = 12_800  # a second
# Frames of an even rate, where samples often lie just between two of them, and of an uneven one.
EVEN = st.builds(
    lambda n, step: [k * step for k in range(n)], st.integers(1, 60), st.sampled_from([128, 256, 512, 1024, 533])
)
UNEVEN = st.lists(st.integers(1, 5000), max_size=60).map(lambda gaps: [sum(gaps[:k]) for k in range(len(gaps) + 1)])
RATES = st.lists(st.sampled_from([1, 2, 3, 4, 5, 10, 12.5, 25, 30, 50, 100, 0.5]), min_size=1, max_size=3)


def frames(ticks: list[int]) -> Iterator[tuple[float, int]]:
    """Frames that are their own numbers."""
    return ((at / TICKS, number) for number, at in enumerate(ticks))


def samples_in_ticks(ticks: list[int], fps: float) -> list[int]:
    """NeMo Curator's rule in whole numbers: see `nearest_frames`."""
    at, step = [3 * tick for tick in ticks], round(3 * TICKS / fps)  # a third of a tick divides every step
    samples = [sample for sample in range(at[0], at[-1] + step, step) if 2 * sample < 2 * at[-1] + step]
    return [min(range(len(at)), key=lambda k: (abs(at[k] - sample), k)) for sample in samples]


@given(EVEN | UNEVEN, RATES)
def test_each_rate_takes_the_frames_of_the_rule_in_one_pass(ticks: list[int], fps: list[float]) -> None:
    numbers: list[list[int]] = [[] for _ in fps]
    for rate, at_s, number in nearest_frames(frames(ticks), fps):  # an iterator gives each frame once
        assert at_s == ticks[number] / TICKS
        numbers[rate].append(number)
    assert numbers == [samples_in_ticks(ticks, per_s) for per_s in fps]


@given(UNEVEN, st.integers(0, 10 * TICKS))
def test_a_clip_that_does_not_begin_at_zero_is_sampled_from_its_first_frame(ticks: list[int], offset: int) -> None:
    numbers = [number for _, _, number in nearest_frames(frames([t + offset for t in ticks]), [4])]
    assert numbers == samples_in_ticks(ticks, 4)


def test_four_seconds_at_one_and_two_frames_per_second_give_the_documented_frames() -> None:
    four_seconds = list(frames([round(k * TICKS / 30) for k in range(120)]))
    assert [k for _, _, k in nearest_frames(four_seconds, [1])] == [0, 30, 60, 90, 119]
    assert [k for _, _, k in nearest_frames(four_seconds, [2])] == [0, 15, 30, 45, 60, 75, 90, 105, 119]


def test_samples_of_two_rates_come_in_the_order_of_the_frames() -> None:
    assert list(nearest_frames([(0.0, "a"), (0.5, "b"), (1.0, "c")], [1, 2])) == [
        (0, 0.0, "a"),
        (1, 0.0, "a"),
        (1, 0.5, "b"),
        (0, 1.0, "c"),
        (1, 1.0, "c"),
    ]


def test_no_frames_give_no_samples() -> None:
    assert list(nearest_frames(frames([]), [1])) == []
    assert list(frames_on_screen(frames([]), np.zeros(1))) == []


@given(UNEVEN, st.lists(st.floats(0, 60), min_size=1, max_size=30).map(sorted))
def test_a_time_shows_the_last_frame_that_has_begun(ticks: list[int], at_s: list[float]) -> None:
    begun = [max(k for k, t in enumerate(ticks) if t / TICKS - BOUNDARY_TOLERANCE_S <= s or k == 0) for s in at_s]
    assert [k for _, k in frames_on_screen(frames(ticks), np.array(at_s))] == begun


def test_middles_of_four_parts_of_two_seconds() -> None:
    assert middles(2.0, 4).tolist() == [0.25, 0.75, 1.25, 1.75]


@given(st.floats(0.1, 1e5), st.integers(1, 300))
def test_middles_are_evenly_spaced_over_the_duration(duration_s: float, parts: int) -> None:
    at_s = middles(duration_s, parts)
    assert len(at_s) == parts
    assert np.allclose(at_s + at_s[::-1], duration_s)
    assert np.allclose(np.diff(at_s), duration_s / parts)
