"""Clock breaks: a clock that wraps, restarts or jumps becomes continuous; a held picture does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.support import odd_times
from tests.support.footage import read_number, write_numbered
from tests.support.odd_times import SMALL
from tests.support.sandbox_probe import probe
from udfs.core.limits import Limits
from udfs.demux import timeline
from udfs.demux.clock_breaks import UNKNOWN, Shift, clock_breaks
from udfs.demux.demuxer import Video
from udfs.video import container, decode


@pytest.mark.parametrize(
    ("offset_s", "num_breaks"),
    [(-1.9, 1), (3600.0, 1), (odd_times.WRAP_S - 3.0, 0), (-2.0 - 0.0, 1)],
    ids=["restarts", "jumps", "wraps", "restarts at 0"],
)
def test_a_clock_that_breaks_is_unrolled(good: Path, tmp_path: Path, offset_s: float, num_breaks: int) -> None:
    whole = num_breaks == 0
    path = (
        odd_times.copy_packets(good, tmp_path / "v.ts", offset_s=offset_s)
        if whole
        else odd_times.write_joined(tmp_path, good, offset_s)
    )
    facts = probe(path)
    assert len(facts["clock_breaks"] or []) == num_breaks
    assert facts["duration_s"] == pytest.approx(4, abs=0.15)
    row = facts | {"start_time_s": facts["start_time_s"]}
    with container.open_video(str(path), Limits(), timing=timeline.timing_of_row(row)) as video:
        times, seen = zip(*((at, read_number(frame)) for at, frame in decode.frames(video)), strict=True)
        assert sorted(seen) == list(seen)
        assert len(seen) == facts["num_frames"] >= 118
        assert np.diff(times) == pytest.approx(1 / 30, abs=0.07)
        later = [read_number(frame) for _, frame in decode.frames(video, 2.5, 3.0)]
    assert later == [n for at, n in zip(times, seen, strict=True) if 2.4985 <= at < 2.9985]


def test_single_frames_hours_ahead_are_put_in_their_place(good: Path, tmp_path: Path) -> None:
    path = odd_times.copy_packets(good, tmp_path / "v.mp4", strays=(50, 51))
    facts = probe(path)
    assert (facts["num_frames"], facts["duration_s"]) == (pytest.approx(120, abs=2), pytest.approx(4, abs=0.1))
    with container.open_video(str(path), Limits(), timing=timeline.timing_of_row(facts)) as video:
        assert [read_number(frame) for _, frame in decode.frames(video, 1.0, 2.0)] == pytest.approx(
            list(range(30, 60)), abs=2
        )


def test_a_picture_that_is_held_is_no_break(tmp_path: Path) -> None:
    facts = probe(odd_times.write_held(tmp_path / "v.mkv", 4, 15.0, audio="aac"))
    assert facts["clock_breaks"] is None
    assert (facts["num_frames"], facts["duration_s"]) == (4, pytest.approx(60, abs=0.1))


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[Video]:
    """An open transport stream without sound, at 90,000 ticks per second."""
    with container.open_video(str(write_numbered(tmp_path / "v.ts", 10, 30, SMALL)), Limits()) as video:
        yield video


def breaks_of(video: Video, stamps: npt.NDArray[np.int64], decode_stamps: npt.NDArray[np.int64]) -> list[Shift]:
    return clock_breaks(video, stamps, decode_stamps, np.full(len(stamps), 3000))


def test_a_clock_that_falls_is_shifted_so_that_the_next_frame_follows(mute: Video) -> None:
    times = np.concatenate([np.arange(50), np.arange(50)]) * 3000
    assert breaks_of(mute, times, times) == [Shift(50, 50 * 3000)]


def test_a_break_without_a_time_behind_it_is_no_break(mute: Video) -> None:
    decode_times = np.concatenate([np.arange(50), np.arange(40), np.arange(60)]) * 3000
    stamps = decode_times.copy()
    stamps[50:90] = UNKNOWN
    assert breaks_of(mute, stamps, decode_times) == [Shift(90, 50 * 3000)]
    stamps[90:] = UNKNOWN
    assert breaks_of(mute, stamps, decode_times) == []


@pytest.mark.parametrize(("step_s", "num_breaks"), [(8, 0), (12, 1)])
def test_without_sound_a_gap_over_ten_seconds_is_a_break(mute: Video, step_s: int, num_breaks: int) -> None:
    times = np.arange(100) * 3000 + np.repeat([0, step_s * 90_000], 50)
    assert len(breaks_of(mute, times, times)) == num_breaks


def test_a_single_wrong_time_is_no_break(mute: Video) -> None:
    times = np.arange(100) * 3000
    times[50] += 3600 * 90_000
    assert breaks_of(mute, times, times) == []
