"""Frames sampled evenly from numbered clips."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.footage import COLOURS, read_number, write_numbered
from udfs.errors import MediaError
from udfs.frames import Pictures, even, middles
from udfs.limits import Limits

SIZE = (320, 240)


def numbers(pictures: Pictures) -> list[int]:
    return [read_number(picture) for picture in pictures]


def test_middles_of_four_parts_of_two_seconds() -> None:
    assert middles(2.0, 4).tolist() == [0.25, 0.75, 1.25, 1.75]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_each_part_of_the_clip_gives_the_frame_on_screen_at_its_middle(tmp_path: Path, name: str) -> None:
    times, pictures = even(str(write_numbered(tmp_path / name, 60, 30)), 4, SIZE, Limits())
    assert numbers(pictures) == [7, 22, 37, 52]  # the tail is seen too
    assert times == pytest.approx([7 / 30, 22 / 30, 37 / 30, 52 / 30], abs=0.001)


def test_a_middle_on_a_frame_boundary_takes_the_frame_that_comes(tmp_path: Path) -> None:
    times, pictures = even(str(write_numbered(tmp_path / "a.mp4", 40, 20)), 2, SIZE, Limits())
    assert numbers(pictures) == [10, 30]
    assert times.tolist() == [0.5, 1.5]


def test_a_clip_of_three_frames_shows_each_twice(tmp_path: Path) -> None:
    times, pictures = even(str(write_numbered(tmp_path / "a.mp4", 3, 10)), 6, SIZE, Limits())
    assert numbers(pictures) == [0, 0, 1, 1, 2, 2]
    assert times.tolist() == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])  # this mp4's header ends at 0.53 s
def test_uneven_frames_are_taken_by_their_time_not_their_count(tmp_path: Path, name: str) -> None:
    times_s = [0.0, 0.1, 0.2, 0.3, 1.6, 1.9]
    times, pictures = even(str(write_numbered(tmp_path / name, times_s=times_s)), 4, SIZE, Limits())
    assert numbers(pictures) == [2, 3, 3, 4]  # middles near 0.24, 0.72, 1.2 and 1.7 s
    assert times.tolist() == pytest.approx([0.2, 0.3, 0.3, 1.6], abs=0.001)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_stand_upright_in_the_size_asked_for(tmp_path: Path, rotation: int) -> None:
    path = write_numbered(tmp_path / "a.mp4", 30, size=(320, 240), rotation=rotation)
    _, pictures = even(str(path), 3, (240, 320), Limits())
    assert pictures.shape == (3, 320, 240, 3)
    assert numbers(pictures) == [5, 15, 25]


def test_pictures_are_rgb_bytes_of_the_size_asked_for(tmp_path: Path) -> None:
    _, pictures = even(str(write_numbered(tmp_path / "a.mp4", 30)), 2, (16, 8), Limits())
    assert pictures.shape == (2, 8, 16, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures[:, 5].mean(axis=(0, 1)) - COLOURS[0]).max() < 40  # red, not blue


def test_a_clip_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60, options={"movflags": "+faststart"})
    with av.open(str(path)) as whole:
        cut_off = [packet.pos for packet in whole.demux(video=0) if packet.pos][30]
    path.write_bytes(path.read_bytes()[:cut_off])
    with pytest.raises(MediaError) as caught:
        even(str(path), 4, SIZE, Limits())
    assert caught.value.code in ("PARTIAL", "CORRUPT")


def test_a_container_that_states_no_duration_is_sampled_to_its_end(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "a.mkv", 30)
    live = tmp_path / "live.mkv"
    with av.open(str(whole)) as source, av.open(str(live), "w", options={"live": "1"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    assert numbers(even(str(live), 3, SIZE, Limits())[1]) == [5, 15, 25]


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    with pytest.raises(MediaError, match="UNSUPPORTED"):
        even(str(path), 4, SIZE, Limits())
