"""Frame extraction from numbered clips: at given times, at several rates, or a single frame."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import odd_times
from tests.support.footage import COLOURS, read_number, write_numbered
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.frames.extract import (
    Pictures,
    Policy,
    evenly_spaced_frames,
    exact_size,
    frame_sequences,
    frames_at,
    short_side,
    single_frame,
    stream_samples,
    target_res,
)
from udfs.runtime import sandbox

FIT = exact_size(320, 240)


def numbers(pictures: Pictures) -> list[int]:
    return [read_number(picture) for picture in pictures]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_each_part_of_the_clip_gives_the_frame_on_screen_at_its_middle(tmp_path: Path, name: str) -> None:
    times, pictures = evenly_spaced_frames(str(write_numbered(tmp_path / name, 60, 30)), 4, FIT, Limits())
    assert numbers(pictures) == [7, 22, 37, 52]  # the tail is seen too
    assert times == pytest.approx([7 / 30, 22 / 30, 37 / 30, 52 / 30], abs=0.001)


def test_a_middle_on_a_frame_boundary_takes_the_frame_that_comes(tmp_path: Path) -> None:
    times, pictures = evenly_spaced_frames(str(write_numbered(tmp_path / "a.mp4", 40, 20)), 2, FIT, Limits())
    assert numbers(pictures) == [10, 30]
    assert times.tolist() == [0.5, 1.5]


def test_six_samples_of_three_frames_show_each_frame_twice(tmp_path: Path) -> None:
    times, pictures = evenly_spaced_frames(str(write_numbered(tmp_path / "a.mp4", 3, 10)), 6, FIT, Limits())
    assert numbers(pictures) == [0, 0, 1, 1, 2, 2]
    assert times.tolist() == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])  # this mp4's header ends at 0.53 s
def test_uneven_frames_are_taken_by_their_time_not_their_count(tmp_path: Path, name: str) -> None:
    times_s = [0.0, 0.1, 0.2, 0.3, 1.6, 1.9]
    times, pictures = evenly_spaced_frames(str(write_numbered(tmp_path / name, times_s=times_s)), 4, FIT, Limits())
    assert numbers(pictures) == [2, 3, 3, 4]  # middles near 0.24, 0.72, 1.2 and 1.7 s
    assert times.tolist() == pytest.approx([0.2, 0.3, 0.3, 1.6], abs=0.001)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_are_upright_in_the_requested_size(tmp_path: Path, rotation: int) -> None:
    path = write_numbered(tmp_path / "a.mp4", 30, size=(320, 240), rotation=rotation)
    _, pictures = evenly_spaced_frames(str(path), 3, exact_size(240, 320), Limits())
    assert pictures.shape == (3, 320, 240, 3)
    assert numbers(pictures) == [5, 15, 25]


def test_pictures_are_rgb_bytes_of_the_requested_size(tmp_path: Path) -> None:
    _, pictures = evenly_spaced_frames(str(write_numbered(tmp_path / "a.mp4", 30)), 2, exact_size(16, 8), Limits())
    assert pictures.shape == (2, 8, 16, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures[:, 5].mean(axis=(0, 1)) - COLOURS[0]).max() < 40  # red, not blue


def write_truncated(path: Path, num_frames: int = 60) -> Path:
    """Write an mp4 whose header promises `num_frames`, the second half of which is cut off."""
    whole = write_numbered(path.with_name("whole.mp4"), num_frames, gop=10)
    odd_times.copy_packets(whole, path, {"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: packet_places(path)[num_frames // 2][0]])
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """The offset and the size of each packet of a file, bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos]


def zero_packets(path: Path, places: list[tuple[int, int]]) -> None:
    """Overwrite these packets of a file with zeros."""
    content = bytearray(path.read_bytes())
    for offset, size in places:
        content[offset : offset + size] = bytes(size)
    path.write_bytes(content)


def test_a_clip_that_ends_early_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        evenly_spaced_frames(str(write_truncated(tmp_path / "a.mp4")), 4, FIT, Limits())
    assert caught.value.code in ("PARTIAL", "CORRUPT")


def test_a_container_that_states_no_duration_is_sampled_to_its_end(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "a.mp4", 30)
    live = odd_times.copy_packets(whole, tmp_path / "live.mkv", {"live": "1"})
    assert numbers(evenly_spaced_frames(str(live), 3, FIT, Limits())[1]) == [5, 15, 25]


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    with pytest.raises(MediaError, match="UNSUPPORTED"):
        evenly_spaced_frames(str(path), 4, FIT, Limits())


def test_given_times_show_the_frames_on_screen_then(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 60, 30))
    times, pictures = frames_at(path, [0, 0.5, 0.51, 1.99, 7], FIT, Limits())
    assert numbers(pictures) == [0, 15, 15, 59, 59]
    assert times == pytest.approx([0, 0.5, 0.5, 59 / 30, 59 / 30], abs=0.001)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "b-adapt": "0"}], ids=["plain", "b-frames"])
def test_times_far_into_a_video_give_the_frames_on_screen_then(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = str(write_numbered(tmp_path / name, 150, 30, gop=25, options=options))
    assert numbers(frames_at(path, [3.0, 3.1, 4.5], FIT, Limits())[1]) == [90, 93, 135]


def test_no_more_is_decoded_than_the_times_need(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90, 30, gop=10)
    places = packet_places(path)
    zero_packets(path, places[10:40] + places[80:])
    assert numbers(frames_at(str(path), [1.7, 1.9, 2.2], FIT, Limits())[1]) == [51, 57, 66]
    with pytest.raises(MediaError, match="CORRUPT"):
        evenly_spaced_frames(str(path), 3, FIT, Limits())


def test_a_proxy_of_a_lower_rate_is_read_at_the_times_of_the_clip(tmp_path: Path) -> None:
    times_s = [0.0, 0.25, 0.5, 0.75]  # as a proxy of 4 frames a second holds them
    path = str(write_numbered(tmp_path / "p.mp4", times_s=times_s))
    assert numbers(frames_at(path, [0.1, 0.49, 0.5, 0.99], FIT, Limits())[1]) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
@pytest.mark.parametrize(("policy", "number"), [("first", 0), ("middle", 45), ("last", 89)])
def test_one_frame_is_the_first_the_middle_or_the_last(tmp_path: Path, name: str, policy: Policy, number: int) -> None:
    path = str(write_numbered(tmp_path / name, 90, 30, gop=20))
    times, pictures = single_frame(path, policy, FIT, Limits())
    assert numbers(pictures) == [number]
    assert times == pytest.approx([number / 30], abs=0.002)


def test_the_middle_is_that_of_the_time_not_of_the_count(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", times_s=[0.0, 0.1, 0.2, 0.3, 1.6, 1.9]))
    assert numbers(single_frame(path, "middle", FIT, Limits())[1]) == [3]


@pytest.mark.parametrize("policy", ["first", "middle", "last"])
def test_every_policy_gives_the_one_frame_of_a_clip_of_one_frame(tmp_path: Path, policy: Policy) -> None:
    assert numbers(single_frame(str(write_numbered(tmp_path / "a.mp4", 1)), policy, FIT, Limits())[1]) == [0]


@pytest.mark.parametrize("policy", ["middle", "last"])
def test_a_clip_that_ends_early_has_no_middle_and_no_last_frame(tmp_path: Path, policy: Policy) -> None:
    with pytest.raises(MediaError, match="PARTIAL"):
        single_frame(str(write_truncated(tmp_path / "a.mp4")), policy, FIT, Limits())


def test_a_last_frame_that_does_not_decode_leaves_the_one_before(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60, 30, gop=10, options={"bf": "0"})
    zero_packets(path, packet_places(path)[-1:])
    assert numbers(single_frame(str(path), "last", FIT, Limits())[1]) == [58]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_several_rates_give_the_documented_frames(tmp_path: Path, name: str) -> None:
    path = str(write_numbered(tmp_path / name, 120, 30, options={"bf": "2"}))
    (slow_s, slow), (_, fast) = frame_sequences(path, [1, 2], FIT, Limits())
    assert numbers(slow) == [0, 30, 60, 90, 119]
    assert numbers(fast) == [0, 15, 30, 45, 60, 75, 90, 105, 119]
    assert slow_s == pytest.approx([0, 1, 2, 3, 119 / 30], abs=0.002)


def test_several_rates_come_from_one_decode(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", write_numbered(tmp_path / "a.mkv", 60, 30).read_bytes()
    os.mkfifo(pipe)  # a pipe gives its bytes once: opening it again, or seeking, would wait for ever
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    with ThreadPoolExecutor(1) as thread:
        sequences = thread.submit(frame_sequences, str(pipe), [1, 2, 5], FIT, Limits()).result(timeout=30)
    assert [numbers(pictures) for _, pictures in sequences] == [
        [0, 30, 59],
        [0, 15, 30, 45, 59],
        [*range(0, 60, 6), 59],
    ]


def test_a_rate_over_the_clip_s_own_shows_frames_again(tmp_path: Path) -> None:
    [(times, pictures)] = frame_sequences(str(write_numbered(tmp_path / "a.mp4", 4, 10)), [20], FIT, Limits())
    assert numbers(pictures) == [0, 0, 1, 1, 2, 2, 3]  # a sample midway between two frames takes the earlier one
    assert times == pytest.approx([0, 0, 0.1, 0.1, 0.2, 0.2, 0.3])


def test_uneven_frames_are_sampled_by_their_times(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", times_s=[0.0, 0.1, 0.2, 0.3, 1.6, 1.9]))
    [(_, pictures)] = frame_sequences(path, [2], FIT, Limits())
    assert numbers(pictures) == [0, 3, 4, 4, 5]  # at 0, 0.5, 1, 1.5 and 2 s


@pytest.mark.parametrize(("num_frames", "expected"), [(1, [0]), (2, [0])])
def test_a_very_short_clip_gives_one_frame_at_least(tmp_path: Path, num_frames: int, expected: list[int]) -> None:
    [(_, pictures)] = frame_sequences(str(write_numbered(tmp_path / "a.mp4", num_frames, 30)), [1], FIT, Limits())
    assert numbers(pictures) == expected


@pytest.mark.parametrize(("rotation", "size"), [(90, (240, 320)), (180, (320, 240)), (270, (240, 320))])
def test_the_size_is_fitted_to_the_upright_frame(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 20, 10, rotation=rotation))
    sizes = list[tuple[int, int]]()

    def fit(width: int, height: int) -> tuple[int, int]:
        sizes.append((width, height))
        return width, height

    [(_, pictures)] = frame_sequences(path, [1], fit, Limits())
    assert sizes == [size]
    assert numbers(pictures) == [0, 10, 19]
    assert pictures.shape[1:3] == size[::-1]


def test_target_res_loses_the_aspect_and_short_side_keeps_it(tmp_path: Path) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 3, 10))
    shapes = [
        single_frame(path, "last", fit, Limits())[1].shape for fit in (target_res(96), target_res(-1), short_side(120))
    ]
    assert shapes == [(1, 96, 96, 3), (1, 240, 320, 3), (1, 120, 160, 3)]


def test_a_truncated_video_raises_at_the_end_of_its_stream(tmp_path: Path) -> None:
    samples = stream_samples(str(write_truncated(tmp_path / "a.mp4")), [10], FIT, Limits())
    assert read_number(next(samples)[2]) == 0
    with pytest.raises(MediaError, match="PARTIAL"):
        list(samples)


def streamed_numbers(path: str) -> list[int]:
    """The numbers of all frames; no picture is kept."""
    return [read_number(picture) for _, _, picture in stream_samples(path, [30], target_res(-1), Limits())]


def test_a_long_video_is_streamed_in_little_memory(tmp_path: Path) -> None:
    size, num_frames = (1280, 720), 150  # 400 MB of pictures
    path = str(write_numbered(tmp_path / "a.mp4", num_frames, 30, size))
    assert sandbox.call(streamed_numbers, path, timeout_s=120, memory_mb=256) == list(range(num_frames))
    with pytest.raises(MediaError, match="OOM"):
        sandbox.call(frame_sequences, path, [30], target_res(-1), Limits(), timeout_s=120, memory_mb=256)
