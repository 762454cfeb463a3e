"""Timelines: times survive their packing, and rates are the fractions that they were."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support.footage import write_numbered
from tests.support.odd_times import SMALL
from tests.support.sandbox_probe import probe
from udfs.demux import timeline
from udfs.demux.timeline import Timeline


def test_times_survive_their_packing() -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.001, 20_000, 5000))
    assert timeline.unpack(timeline.pack(times)) == pytest.approx(times, abs=1e-6)
    assert len(timeline.pack(np.cumsum(np.full(100_000, 1 / 30)))) < 5000


def test_a_frame_an_hour_is_a_legal_rate(tmp_path: Path) -> None:
    facts = probe(write_numbered(tmp_path / "v.mp4", 10, Fraction(1, 3600), SMALL))
    assert (facts["num_frames"], facts["framerate"]) == (10, pytest.approx(1 / 3600))
    assert timeline.timing_of_row(facts).framerate == Fraction(1, 3600)


def test_a_frame_a_millisecond_before_a_boundary_lies_on_it() -> None:
    uneven = Timeline(np.array([0.0, 0.4, 0.9995, 1.5]), 2.0, 2.0, is_even=False)
    assert [uneven.first_frame(at_s) for at_s in (0.0, 0.3, 1.0, 1.6)] == [0, 1, 2, 4]
    even = Timeline(np.arange(4) / 2, 2.0, 2.0, is_even=True)
    assert [even.first_frame(at_s) for at_s in (0.0, 0.3, 1.0, 1.0005)] == [0, 1, 2, 2]


def test_a_slide_on_screen_belongs_to_the_span_and_a_short_frame_does_not() -> None:
    slides = Timeline(np.array([0.0, 0.1, 5.0, 5.1]), 5.2, 1.0, is_even=False)
    assert slides.held_s(2.0) == pytest.approx(1.9)
    assert slides.held_s(4.9) == 0  # it stays for only 0.1 s more
    assert Timeline(np.arange(60) / 30, 2.0, 30.0, is_even=True).held_s(1.01) == 0


@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), Fraction(25), Fraction(1, 3600)])
def test_a_rate_survives_its_column(rate: Fraction) -> None:
    assert timeline.exact_rate(float(rate)) == rate


def test_a_row_gives_back_its_timeline_and_timing() -> None:
    row = {"framerate": 25.0, "num_frames": 3, "duration_s": 0.12, "clock_breaks": [{"packet": 2, "shift_s": 1.5}]}
    assert timeline.timeline_of_row(row).times_s == pytest.approx([0, 0.04, 0.08])
    assert timeline.timing_of_row(row).breaks == (timeline.Break(2, 1.5),)
    times = np.array([0.0, 0.5, 2.0])
    assert timeline.timeline_of_row(row | {"frame_times": timeline.pack(times)}).times_s == pytest.approx(times)
