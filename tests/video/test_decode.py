"""Decoding: a span of a video has exactly its frames, in every container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import broken_files
from tests.support.footage import read_number, write_numbered
from tests.support.sandbox_probe import SMALL, timed_numbers
from udfs.core.limits import Limits
from udfs.video import container, decode

OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:scenecut=0"}


def span_numbers(path: Path, *stretches: tuple[float, float]) -> list[list[int]]:
    """The numbers of the frames of each stretch, all from one open container."""
    with container.open_video(str(path), Limits()) as video:
        return [[read_number(frame) for _, frame in decode.frames(video, start, end)] for start, end in stretches]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", {}),
        ("open.mp4", "libx264", OPEN_GOP),
        ("v.mov", "mpeg4", {}),
        ("v.mkv", "libx264", {}),
        ("v.webm", "libvpx-vp9", {}),
        ("hevc.mp4", "libx265", {}),
        ("v.flv", "libx264", {}),
        ("v.wmv", "wmv2", {}),
        ("v.ts", "libx264", {}),
        ("open.ts", "libx264", OPEN_GOP),
        ("hevc.ts", "libx265", {}),
        ("mpeg2.ts", "mpeg2video", {"bf": "2"}),
        ("v.mpg", "mpeg2video", {}),
        ("plain.avi", "libx264", {"bf": "0"}),
        ("b.avi", "libx264", {}),
        ("divx.avi", "mpeg4", {"bf": "2"}),
    ],
)
def test_a_stretch_of_any_container_is_frame_exact(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write_numbered(tmp_path / name, 120, 30, SMALL, codec=codec, options=options, gop=30)
    assert span_numbers(path, (0, 99), (1.5, 2.5), (1, 1.1), (3.9, 99), (0, 0.2), (4, 99)) == [
        list(range(120)),
        list(range(45, 75)),
        list(range(30, 33)),
        list(range(117, 120)),
        list(range(6)),
        [],
    ]


def test_times_are_seconds_after_the_first_frame(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.ts", 30, 30, SMALL)
    with container.open_video(str(path), Limits()) as video:
        assert [at for at, _ in decode.frames(video)] == pytest.approx([k / 30 for k in range(30)])


def test_times_that_jump_back_go_on_by_the_frame_rate(tmp_path: Path) -> None:
    parts = [write_numbered(tmp_path / f"{k}.ts", 30, 30, SMALL, first=30 * k) for k in range(2)]
    at = timed_numbers(broken_files.join_files(tmp_path / "v.ts", *parts))
    assert [k for _, k in at] == list(range(60))
    assert [time for time, _ in at] == pytest.approx([k / 30 for k in range(60)], abs=0.002)


def test_without_key_frames_a_stretch_is_still_exact(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.ts", 720, 12, SMALL, gop=720, options={"x264-params": "scenecut=0"})
    assert [k for _, k in timed_numbers(path, 58, 58.5)] == list(range(696, 702))
