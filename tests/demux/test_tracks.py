"""Choosing the video track: the main track is read, and not a cover, a thumbnail or a preview."""

from __future__ import annotations

from pathlib import Path

import pytest
from av.stream import Disposition

from tests.support.odd_pictures import Track, write_tracks
from udfs.core.limits import Limits
from udfs.video import container

Size = tuple[int, int]
LOW, HIGH = (64, 48), (160, 120)


DEFAULT, OTHER = Disposition.default, Disposition(0)


def track_width(path: Path) -> int:
    with container.open_video(str(path), Limits()) as video:
        return video.stream.width


@pytest.mark.parametrize(
    "beside",
    [
        Track(LOW, 0.1, "mjpeg", "yuvj420p", disposition=DEFAULT),
        Track(LOW, 3, "mjpeg", "yuvj420p", 1, DEFAULT),
        Track(LOW, 0.1, "ffv1", disposition=DEFAULT),
        Track(LOW, 3, "libx264", fps=1, disposition=DEFAULT),
        Track(LOW, 1, "libx264", disposition=DEFAULT),
        Track(LOW, 3, "libx265", "gray", disposition=DEFAULT),
    ],
    ids=[
        "one picture",
        "a picture a second",
        "one frame",
        "preview of a frame a second",
        "a shorter clip",
        "a depth map",
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_what_is_beside_the_film_is_not_taken_for_it(tmp_path: Path, beside: Track, suffix: str) -> None:
    film = Track(HIGH, 3, disposition=DEFAULT)
    assert track_width(write_tracks(tmp_path / f"v.{suffix}", beside, film)) == HIGH[0]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_of_two_real_tracks_the_default_one_is_taken_though_a_little_shorter(tmp_path: Path, suffix: str) -> None:
    path = write_tracks(
        tmp_path / f"v.{suffix}", Track(LOW, 3, disposition=OTHER), Track(HIGH, 2.5, disposition=DEFAULT)
    )
    assert track_width(path) == HIGH[0]


def test_a_slow_default_track_of_some_frames_a_second_is_a_film(tmp_path: Path) -> None:
    slides, camera = Track(HIGH, 3, fps=5, disposition=DEFAULT), Track(LOW, 3, fps=30, disposition=OTHER)
    assert track_width(write_tracks(tmp_path / "v.mkv", camera, slides)) == HIGH[0]


@pytest.mark.parametrize("tracks", [(HIGH, LOW), (LOW, HIGH)])
def test_without_flags_the_track_with_the_most_pixels_is_taken(tmp_path: Path, tracks: tuple[Size, Size]) -> None:
    assert track_width(write_tracks(tmp_path / "v.ts", *(Track(size, 2) for size in tracks))) == HIGH[0]


@pytest.mark.parametrize(
    "track", [Track(HIGH, 2, "mjpeg", "yuvj420p"), Track(HIGH, 8, fps=1), Track(HIGH, 2, "libx265", "gray")]
)
def test_a_file_that_has_nothing_else_is_read_by_what_it_has(tmp_path: Path, track: Track) -> None:
    assert track_width(write_tracks(tmp_path / "v.mkv", track)) == HIGH[0]
