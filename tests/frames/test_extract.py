"""Frames of numbered clips: evenly spread, at given times, at rates, or one of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.footage import COLOURS, read_number, write_numbered
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.frames.extract import Pictures, Policy, even, exactly, one, sequence, short_side, shown, stream, target_res
from udfs.frames.timestamps import middles
from udfs.runtime import sandbox

SIZE = exactly(320, 240)


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
    _, pictures = even(str(path), 3, exactly(240, 320), Limits())
    assert pictures.shape == (3, 320, 240, 3)
    assert numbers(pictures) == [5, 15, 25]


def test_pictures_are_rgb_bytes_of_the_size_asked_for(tmp_path: Path) -> None:
    _, pictures = even(str(write_numbered(tmp_path / "a.mp4", 30)), 2, exactly(16, 8), Limits())
    assert pictures.shape == (2, 8, 16, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures[:, 5].mean(axis=(0, 1)) - COLOURS[0]).max() < 40  # red, not blue


def cut_short(path: Path, num_frames: int = 60) -> Path:
    """An mp4 whose header promises so many frames, half of which are missing."""
    whole = write_numbered(path.with_name("whole.mp4"), num_frames, gop=10)
    copied(whole, path, {"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: packets(path)[num_frames // 2][0]])
    return path


def copied(source: Path, target: Path, options: dict[str, str]) -> Path:
    """The same packets in another container."""
    with av.open(str(source)) as there, av.open(str(target), "w", options=options) as out:
        stream = out.add_stream_from_template(there.streams.video[0])
        for packet in there.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                out.mux(packet)
    return target


def packets(path: Path) -> list[tuple[int, int]]:
    """Where each packet lies in a file, and its size."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos]


def spoilt(path: Path, which: list[tuple[int, int]]) -> Path:
    """Some packets overwritten with nothing."""
    content = bytearray(path.read_bytes())
    for at, size in which:
        content[at : at + size] = bytes(size)
    path.write_bytes(content)
    return path


def test_a_clip_that_ends_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        even(str(cut_short(tmp_path / "a.mp4")), 4, SIZE, Limits())
    assert caught.value.code in ("PARTIAL", "CORRUPT")


def test_a_container_that_states_no_duration_is_sampled_to_its_end(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "a.mkv", 30)
    live = copied(whole, tmp_path / "live.mkv", {"live": "1"})
    assert numbers(even(str(live), 3, SIZE, Limits())[1]) == [5, 15, 25]


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    with pytest.raises(MediaError, match="UNSUPPORTED"):
        even(str(path), 4, SIZE, Limits())


def test_the_frames_on_screen_at_given_times(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 60, 30))
    times, pictures = shown(path, [0, 0.5, 0.51, 1.99, 7], SIZE, Limits())
    assert numbers(pictures) == [0, 15, 15, 59, 59]
    assert times == pytest.approx([0, 0.5, 0.5, 59 / 30, 59 / 30], abs=0.001)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-adapt": "0"}], ids=["plain", "b-frames"])
def test_times_far_into_a_video_lead_to_the_same_frames(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = str(write_numbered(tmp_path / name, 150, 30, gop=25, options=options))
    assert numbers(shown(path, [3.0, 3.1, 4.5], SIZE, Limits())[1]) == [90, 93, 135]


def test_no_more_is_decoded_than_the_times_need(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90, 30, gop=10)
    places = packets(path)
    spoilt(path, places[10:40] + places[80:])
    assert numbers(shown(str(path), [1.7, 1.9, 2.2], SIZE, Limits())[1]) == [51, 57, 66]
    with pytest.raises(MediaError, match="CORRUPT"):
        even(str(path), 3, SIZE, Limits())


def test_a_proxy_shows_what_it_has_at_the_clip_s_times(tmp_path: Path) -> None:
    times_s = [0.0, 0.25, 0.5, 0.75]  # as a proxy of 4 frames a second holds them
    path = str(write_numbered(tmp_path / "p.mp4", times_s=times_s))
    assert numbers(shown(path, [0.1, 0.49, 0.5, 0.99], SIZE, Limits())[1]) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize(("policy", "number"), [("first", 0), ("middle", 45), ("last", 89)])
def test_one_frame_is_the_first_the_middle_or_the_last(tmp_path: Path, name: str, policy: Policy, number: int) -> None:
    path = str(write_numbered(tmp_path / name, 90, 30, gop=20))
    times, pictures = one(path, policy, SIZE, Limits())
    assert numbers(pictures) == [number]
    assert times == pytest.approx([number / 30], abs=0.002)


def test_the_middle_is_that_of_the_time_not_of_the_count(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", times_s=[0.0, 0.1, 0.2, 0.3, 1.6, 1.9]))
    assert numbers(one(path, "middle", SIZE, Limits())[1]) == [3]


@pytest.mark.parametrize("policy", ["first", "middle", "last"])
def test_the_one_frame_of_a_clip_of_one_frame(tmp_path: Path, policy: Policy) -> None:
    assert numbers(one(str(write_numbered(tmp_path / "a.mp4", 1)), policy, SIZE, Limits())[1]) == [0]


@pytest.mark.parametrize("policy", ["middle", "last"])
def test_a_clip_that_ends_early_has_no_middle_and_no_last_frame(tmp_path: Path, policy: Policy) -> None:
    with pytest.raises(MediaError, match="PARTIAL"):
        one(str(cut_short(tmp_path / "a.mp4")), policy, SIZE, Limits())


def test_a_last_frame_that_does_not_decode_leaves_the_one_before(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60, 30, gop=10, options={"bf": "0"})
    spoilt(path, packets(path)[-1:])
    assert numbers(one(str(path), "last", SIZE, Limits())[1]) == [58]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_several_rates_give_the_documented_frames(tmp_path: Path, name: str) -> None:
    path = str(write_numbered(tmp_path / name, 120, 30, options={"bf": "2"}))
    (slow_s, slow), (_, fast) = sequence(path, [1, 2], SIZE, Limits())
    assert numbers(slow) == [0, 30, 60, 90, 119]
    assert numbers(fast) == [0, 15, 30, 45, 60, 75, 90, 105, 119]
    assert slow_s == pytest.approx([0, 1, 2, 3, 119 / 30], abs=0.002)


def test_several_rates_come_from_one_decode(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", write_numbered(tmp_path / "a.mkv", 60, 30).read_bytes()
    os.mkfifo(pipe)  # it gives its bytes once: whoever opens it again, or seeks, waits for ever
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    found = sandbox.call(sequence, str(pipe), [1, 2, 5], SIZE, Limits(), timeout_s=30, memory_mb=1024)
    assert [numbers(pictures) for _, pictures in found] == [[0, 30, 59], [0, 15, 30, 45, 59], [*range(0, 60, 6), 59]]


def test_a_rate_over_the_clip_s_own_shows_frames_again(tmp_path: Path) -> None:
    [(times, pictures)] = sequence(str(write_numbered(tmp_path / "a.mp4", 4, 10)), [20], SIZE, Limits())
    assert numbers(pictures) == [0, 0, 1, 1, 2, 2, 3]  # a sample midway between two frames takes the earlier one
    assert times == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2, 0.3])


def test_uneven_frames_are_sampled_by_their_times(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", times_s=[0.0, 0.1, 0.2, 0.3, 1.6, 1.9]))
    [(_, pictures)] = sequence(path, [2], SIZE, Limits())
    assert numbers(pictures) == [0, 3, 4, 4, 5]  # at 0, 0.5, 1, 1.5 and 2 s


@pytest.mark.parametrize(("num_frames", "expected"), [(1, [0]), (2, [0])])
def test_a_very_short_clip_gives_one_frame_at_least(tmp_path: Path, num_frames: int, expected: list[int]) -> None:
    [(_, pictures)] = sequence(str(write_numbered(tmp_path / "a.mp4", num_frames, 30)), [1], SIZE, Limits())
    assert numbers(pictures) == expected


@pytest.mark.parametrize(("rotation", "size"), [(90, (240, 320)), (180, (320, 240)), (270, (240, 320))])
def test_the_size_is_fitted_to_the_upright_frame(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 20, 10, rotation=rotation))
    asked = list[tuple[int, int]]()

    def fit(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return width, height

    [(_, pictures)] = sequence(path, [1], fit, Limits())
    assert asked == [size]
    assert numbers(pictures) == [0, 10, 19]
    assert pictures.shape[1:3] == size[::-1]


def test_target_res_loses_the_aspect_and_short_side_keeps_it(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 3, 10))
    shapes = [one(path, "last", fit, Limits())[1].shape for fit in (target_res(96), target_res(-1), short_side(120))]
    assert shapes == [(1, 96, 96, 3), (1, 240, 320, 3), (1, 120, 160, 3)]


def test_a_video_that_ends_early_is_known_when_its_stream_ends(tmp_path: Path) -> None:
    found = stream(str(cut_short(tmp_path / "a.mp4")), [10], SIZE, Limits())
    assert read_number(next(found)[2]) == 0
    with pytest.raises(MediaError, match="PARTIAL"):
        list(found)


def streamed(path: str) -> list[int]:
    """The numbers of all frames, none of which is kept."""
    return [read_number(picture) for _, _, picture in stream(path, [30], target_res(-1), Limits())]


def test_a_long_video_is_streamed_in_little_memory(tmp_path: Path) -> None:
    size, num_frames = (1280, 720), 150  # 400 MB of pictures
    path = str(write_numbered(tmp_path / "a.mp4", num_frames, 30, size))
    assert sandbox.call(streamed, path, timeout_s=120, memory_mb=256) == list(range(num_frames))
    with pytest.raises(MediaError, match="OOM"):
        sandbox.call(sequence, path, [30], target_res(-1), Limits(), timeout_s=120, memory_mb=256)
