"""Streams that are odd but good: every frame comes, at its time, whatever the container says."""

from __future__ import annotations

import resource
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support import broken_files, odd_streams, odd_times
from tests.support.footage import write_looped, write_numbered
from tests.support.sandbox_probe import SMALL, code_of, probed_row, timed_numbers
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.video import container, decode


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_streams_the_default_one_counts(tmp_path: Path, default: int) -> None:
    path = odd_streams.write_two_pictures(tmp_path / "v.mkv", ((160, 120), (320, 240)), default)
    assert probed_row(path)["width"] == (160, 320)[default]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_uneven_frames_come_at_their_own_times(tmp_path: Path, suffix: str) -> None:
    times = [0, 0.1, 0.5, 0.52, 1.2, 1.21, 2, 2.1]
    path = write_numbered(tmp_path / f"v{suffix}", size=SMALL, times_s=times)
    assert probed_row(path)["is_vfr"]
    assert [at for at, _ in timed_numbers(path)] == pytest.approx(times, abs=0.001)
    assert [k for _, k in timed_numbers(path, 0.5, 2)] == [2, 3, 4, 5]


def test_even_frames_are_not_called_uneven(tmp_path: Path) -> None:
    assert not probed_row(write_numbered(tmp_path / "v.mkv", 100, Fraction(30_000, 1001), SMALL))["is_vfr"]


@pytest.mark.parametrize(
    ("suffix", "start"), [(".mp4", 5), (".mp4", 3600), (".mkv", -1), (".mkv", 5), (".ts", -1), (".ts", 3600)]
)
def test_times_count_from_the_first_shown_frame(tmp_path: Path, start: int, suffix: str) -> None:
    path = write_numbered(tmp_path / f"v{suffix}", size=SMALL, times_s=[start + k / 30 for k in range(60)], gop=20)
    assert timed_numbers(path)[0] == (0, 0)
    assert [k for _, k in timed_numbers(path, 1, 1.5)] == list(range(30, 45))
    assert probed_row(path)["duration_s"] == pytest.approx(2, abs=0.05)


def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mp4", size=SMALL, times_s=[k / 30 - 1 for k in range(60)], gop=20)
    assert timed_numbers(path)[0] == (0, 30)
    assert [k for _, k in timed_numbers(path, 0.5, 1)] == list(range(45, 60))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_probed(tmp_path: Path, rotation: int) -> None:
    row = probed_row(write_numbered(tmp_path / "v.mp4", 10, 30, SMALL, rotation=rotation))
    assert (row["rotation"], row["width"], row["height"]) == (rotation, 160, 120)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx265", "yuv420p10le", ".mp4"),
        ("libx264", "yuv422p", ".mp4"),
        ("libx264", "yuv444p", ".mkv"),
        ("png", "rgba", ".mov"),
        ("prores", "yuv422p10le", ".mov"),
        ("qtrle", "rgb24", ".mov"),
        ("rawvideo", "yuyv422", ".avi"),
    ],
)
def test_uncommon_pictures_are_read(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    path = write_numbered(tmp_path / f"v{suffix}", 10, 30, SMALL, codec=codec, pix_fmt=pix_fmt)
    assert probed_row(path)["pixel_format"] == pix_fmt
    assert [k for _, k in timed_numbers(path)] == list(range(10))


def test_frames_of_two_sizes_both_come(tmp_path: Path) -> None:
    parts = [write_numbered(tmp_path / f"{w}.ts", 20, 30, (w, 120)) for w in (160, 200)]
    assert len(timed_numbers(broken_files.join_files(tmp_path / "v.ts", *parts))) == 40


def test_ten_hours_are_decoded_in_flat_memory(tmp_path: Path) -> None:
    minute = write_numbered(tmp_path / "minute.mp4", 60, 1, (64, 48), gop=60)
    path = write_looped(minute, tmp_path / "v.mkv", 600)
    assert probed_row(path)["duration_s"] == pytest.approx(36_000, rel=0.01)
    frames, grown_mb = sandbox.call(grown_over, str(path), timeout_s=120, memory_mb=512)
    assert frames == 36_000
    assert grown_mb < 20


def test_a_file_over_2_gib_is_read_by_its_path(tmp_path: Path) -> None:
    path = odd_times.copy_packets(
        write_numbered(tmp_path / "s.mp4", 30, 30, SMALL), tmp_path / "v.mp4", {"movflags": "faststart"}
    )
    with path.open("ab") as f:  # a free box of 3 GiB that takes no room on the disk
        f.write((1).to_bytes(4, "big") + b"free" + (3 << 30).to_bytes(8, "big"))
        f.truncate(path.stat().st_size + 16 + (3 << 30))
    assert probed_row(path, memory_mb=512)["size"] > 3 << 30


def test_noise_is_a_video_like_any_other(tmp_path: Path, noise: Callable[[Path], Path]) -> None:
    assert code_of(noise(tmp_path / "v.mp4")) is None


@pytest.fixture
def noise() -> Callable[[Path], Path]:
    """Writes pictures without any order in them."""
    import numpy as np

    from tests.support import clips

    pictures = np.random.default_rng(26).integers(0, 256, (30, 120, 160, 3), dtype=np.uint8)
    return lambda path: clips.write(path, pictures)


def grown_over(path: str) -> tuple[int, float]:
    """The frames of a file, and by how many MB the process grew from the thousandth to the last."""
    early, count = 0, 0
    with container.open_video(path, Limits()) as video:
        for count, _ in enumerate(decode.frames(video), start=1):
            early = early or (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if count == 1000 else 0)
    return count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early) / 1024
