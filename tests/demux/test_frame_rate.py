"""Frame rates: measured from the times of frames, whatever the header states."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.support import odd_times
from tests.support.footage import write_numbered
from tests.support.odd_times import SMALL
from tests.support.sandbox_probe import frame_times_s, probe
from udfs.demux import timeline
from udfs.demux.frame_rate import is_variable, rate_of
from udfs.demux.timeline import Timeline


def test_a_rate_that_changes_late_is_found(tmp_path: Path) -> None:
    path = odd_times.write_uneven(tmp_path / "v.mp4", [1 / 30] * 420 + [0.1] * 40)
    facts = probe(path)
    assert facts["is_vfr"]
    assert (facts["num_frames"], facts["duration_s"]) == (461, pytest.approx(18.033, abs=0.001))
    assert timeline.unpack(facts["frame_times"]) == pytest.approx(frame_times_s(path), abs=1e-5)


@pytest.mark.parametrize("name", ["v.mkv", "v.flv"])
def test_a_stream_without_a_stated_rate_gets_the_measured_one(tmp_path: Path, name: str) -> None:
    facts = probe(
        write_numbered(tmp_path / name, 60, Fraction(30_000, 1001), SMALL, times_s=[k * 1.001 / 30 for k in range(60)])
    )
    assert facts["framerate"] == pytest.approx(30_000 / 1001)
    assert (facts["num_frames"], facts["is_vfr"]) == (60, False)


def test_a_stated_rate_is_taken_only_if_it_fits_the_times() -> None:
    times = np.arange(100) / 25
    assert rate_of(times, 25.0, (Fraction(25), None)) == 25
    assert rate_of(times, 25.0, (Fraction(50), None)) == 25
    assert rate_of(np.arange(100) / 17.3, 17.3, (None,)) == Fraction(173, 10)


def test_a_rate_that_a_container_rounded_becomes_the_standard_one() -> None:
    assert rate_of(np.arange(100) * 1001 / 30_000, 29.97, (Fraction(2997, 100),)) == Fraction(30_000, 1001)


@pytest.mark.parametrize(("late_s", "is_vfr"), [(0.003, False), (0.02, True)])
def test_spacing_may_differ_by_a_tenth(late_s: float, is_vfr: bool) -> None:
    times = np.arange(10) / 25
    times[5:] += late_s
    assert is_variable(Timeline(times, 0.4, 25.0, is_even=False)) is is_vfr
