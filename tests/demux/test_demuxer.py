"""Packets: continuous times from a key frame on, and a way back to the first one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import broken_files, odd_times
from tests.support.footage import write_numbered
from tests.support.odd_times import SMALL
from tests.support.sandbox_probe import probe, timed_numbers
from udfs.core.limits import Limits
from udfs.demux import demuxer, timeline
from udfs.video import container


def test_a_stream_that_begins_midway_stops_nothing(tmp_path: Path) -> None:
    mute = write_numbered(tmp_path / "a.ts", 30, 30, SMALL)
    loud = write_numbered(tmp_path / "b.ts", 30, 30, SMALL, audio="aac", first=30)
    assert len(timed_numbers(broken_files.join_files(tmp_path / "v.ts", mute, loud))) >= 59


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_packets_begin_at_the_key_frame_before_a_time(good: Path, tmp_path: Path, name: str) -> None:
    path = odd_times.copy_packets(good, tmp_path / name)
    with container.open_video(str(path), Limits()) as video:
        first = next(demuxer.packets_from(video, 1.5))
        assert first.is_keyframe
        assert first.pts is not None
        assert float(first.pts * first.time_base) - video.start_s <= 1.5


@pytest.mark.parametrize("name", ["v.mp4", "v.ts", "v.flv"])
def test_a_second_pass_begins_at_the_first_packet(good: Path, tmp_path: Path, name: str) -> None:
    with container.open_video(str(odd_times.copy_packets(good, tmp_path / name)), Limits()) as video:
        first = [packet.pts for packet in demuxer.packets_from(video, 0.0)]
        assert video.is_read
        assert [packet.pts for packet in demuxer.packets_from(video, 0.0)] == first


def test_times_go_on_over_a_break_of_the_clock(good: Path, tmp_path: Path) -> None:
    path = odd_times.write_joined(tmp_path, good, 3600.0)
    with container.open_video(str(path), Limits(), timing=timeline.timing_of_row(probe(path))) as video:
        times_s = [float(p.dts * p.time_base) for p in demuxer.packets(video) if p.size and p.dts is not None]
    assert len(times_s) >= 118
    assert max(b - a for a, b in pairwise(times_s)) < 0.2
