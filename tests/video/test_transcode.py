"""Transcoding: one decoding pass encodes all spans; damage fails only its own span."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from av.packet import Packet

from tests.support.clip_units import (
    failure_codes,
    only_clip,
    overwrite_packets,
    unit,
)
from tests.support.footage import numbers, write_numbered
from udfs import clip
from udfs.clip import Params
from udfs.demux import demuxer
from udfs.demux.demuxer import Video
from udfs.runtime.context import Env
from udfs.storage import access
from udfs.video import decode


def test_overlapping_spans_are_cut_in_one_pass(tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoded(monkeypatch)
    spans = [(0, 30), (10, 40), (10, 20), (40, 60)]
    made = clip.cut_unit(unit(write_numbered(tmp_path / "a.mp4", 60), *spans), Params(), env)
    assert {row["clip_id"]: numbers(row["uri"]) for row in made} == {f"{a}-{b}": list(range(a, b)) for a, b in spans}
    assert decoded() < 70  # a second pass would make it 120


def test_only_the_part_of_a_long_video_is_decoded(tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 1200, size=(64, 48), gop=30), (1100, 1130))
    decoded = count_decoded(monkeypatch)
    assert numbers(only_clip(row, env)["uri"]) == list(range(1100, 1130))
    assert decoded() < 100


def test_of_a_truncated_video_the_whole_clips_are_kept(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mkv", 120, gop=15)
    row = unit(path, (0, 30), (30, 60), (45, 105), (105, 120))
    with path.open("r+b") as f:
        f.truncate(path.stat().st_size * 6 // 10)
    made = clip.cut_unit(row | {"source_version": access.version(str(path))}, Params(), env)
    assert failure_codes(made) == [None, None, "PARTIAL", "CORRUPT"]
    assert numbers(made[1]["uri"]) == list(range(30, 60))


def test_damage_fails_only_the_clip_that_holds_it(tmp_path: Path, env: Env) -> None:
    path = overwrite_packets(write_numbered(tmp_path / "a.mp4", 90, gop=30), "video", slice(35, 55), keep=8)
    made = clip.cut_unit(unit(path, (0, 30), (30, 60), (60, 90)), Params(), env)
    assert failure_codes(made) == [None, "CORRUPT", None]
    assert numbers(made[2]["uri"]) == list(range(60, 90))


def test_packets_refused_before_the_first_frame_of_a_file_are_damage_of_no_clip(tmp_path: Path, env: Env) -> None:
    path = overwrite_packets(write_numbered(tmp_path / "a.mp4", 90, gop=30), "video", slice(0, 30), keep=0)
    for first in (0, 30):  # in units of their own, each of which opens the file; frame 30 is the first
        made = only_clip(unit(path, (first, first + 30)), env)
        assert numbers(made["uri"]) == [*range(30 + first, 60 + first)]


def test_footage_behind_a_long_hole_is_cut(tmp_path: Path, env: Env) -> None:
    whole = write_numbered(tmp_path / "a.mp4", 1320, size=(64, 48), gop=30)
    path = overwrite_packets(whole, "video", slice(60, 1200), keep=0)
    made = clip.cut_unit(unit(path, (0, 60), (600, 660), (1200, 1260), (1260, 1320)), Params(), env)
    assert [code is None for code in failure_codes(made)] == [True, False, True, True]
    assert numbers(made[3]["uri"]) == [*range(1260, 1320)]


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that tells how many packets were given to a decoder since."""
    given: list[int] = []
    packets = demuxer.packets

    def counted(video: Video) -> Iterator[Packet[Any]]:
        for packet in packets(video):
            given.append(packet.size)
            yield packet

    monkeypatch.setattr(decode, "packets", counted)
    return lambda: len(given)
