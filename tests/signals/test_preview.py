"""Previews: one animated WebP per window with the right frames, upright and never scaled up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.support import clips
from tests.support.footage import Rgb, read_number, write_numbered
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.frames import extract, windows
from udfs.runtime.context import Row
from udfs.signals import preview

CUT = windows.Params(window_size=60, remainder_threshold=30)


def preview_row(path: Path, cut: windows.Params = CUT, **params: float) -> Row:
    how = preview.Params(**params)  # type: ignore[arg-type]
    return clips.observe(path, preview.Observer(how, clips.row(path), clips.env(path.parent), cut))


def pictures_and_ms(uri: str) -> tuple[list[Rgb], list[int]]:
    """The pictures of an animation, and the milliseconds for which each is shown."""
    with Image.open(uri) as file:
        frames = [
            (np.asarray(frame.convert("RGB")), int(frame.info["duration"])) for frame in ImageSequence.Iterator(file)
        ]
    return [pixels for pixels, _ in frames], [ms for _, ms in frames]


def test_each_window_shows_one_frame_a_second_for_a_second(tmp_path: Path) -> None:
    entries = preview_row(write_numbered(tmp_path / "n.mp4", 150))["previews"]
    assert [(entry["start_frame"], entry["end_frame"]) for entry in entries] == [(0, 59), (60, 119), (120, 149)]
    previews = [pictures_and_ms(entry["uri"]) for entry in entries]
    assert [[read_number(pixels) for pixels in pictures] for pictures, _ in previews] == [[0, 30], [60, 90], [120]]
    assert [ms for _, ms in previews[:2]] == [[1000, 1000], [1000, 1000]]


def test_the_last_picture_stays_to_the_end_of_its_window(tmp_path: Path) -> None:
    (entry,) = preview_row(write_numbered(tmp_path / "n.mp4", 75))["previews"]  # 15 frames left over join the window
    assert pictures_and_ms(entry["uri"])[1] == [1000, 1000, 500]


def test_files_are_named_by_the_clip_the_settings_and_the_window(tmp_path: Path) -> None:
    (entry,) = preview_row(write_numbered(tmp_path / "n.mp4", 30))["previews"]
    assert entry["uri"] == f"{tmp_path}/media/previews/c1/c1ip-01234567-0_29.webp"


def test_a_preview_loops_for_ever(tmp_path: Path) -> None:
    (entry,) = preview_row(write_numbered(tmp_path / "n.mp4", 60))["previews"]
    with Image.open(entry["uri"]) as file:
        assert file.info["loop"] == 0


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 480), (320, 240)), ((1280, 720), (427, 240)), ((160, 120), (160, 120))]
)
def test_the_height_is_bounded(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    (entry,) = preview_row(write_numbered(tmp_path / "n.mp4", 8, size=size))["previews"]
    with Image.open(entry["uri"]) as file:
        assert file.size == expected


def test_a_small_or_slow_clip_is_warned_about(tmp_path: Path) -> None:
    assert preview_row(write_numbered(tmp_path / "n.mp4", 8))["warnings"] == []
    slow = write_numbered(tmp_path / "slow.mp4", 8, fps=2, size=(160, 120))
    assert preview_row(slow, target_fps=4.0)["warnings"] == [
        "preview: the clip has 2 fps, less than target_fps 4",
        "preview: the clip is 120 px high, less than target_height 240",
    ]


def test_a_rotated_clip_is_shown_upright(tmp_path: Path) -> None:
    (entry,) = preview_row(write_numbered(tmp_path / "phone.mp4", 8, size=(640, 480), rotation=90))["previews"]
    pictures, _ = pictures_and_ms(entry["uri"])
    assert pictures[0].shape == (240, 180, 3)
    assert read_number(pictures[0]) == 0


@pytest.mark.parametrize(("level", "lossless"), [(0, True), (1, False), (6, False)])
def test_level_zero_is_lossless(tmp_path: Path, level: int, lossless: bool) -> None:
    path = write_numbered(tmp_path / "n.mp4", 8)
    _, original = extract.evenly_spaced_frames(str(path), 8, extract.exact_size(320, 240), Limits())
    pictures, _ = pictures_and_ms(preview_row(path, compression_level=level, target_fps=30)["previews"][0]["uri"])
    assert len(pictures) == 8
    assert np.array_equal(pictures, original) == lossless


def test_quality_and_effort_change_the_size(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "pan.mp4", clips.panned((320, 240), 30, 3))
    sizes = [
        len(Path(preview_row(path, quality=q, compression_level=level)["previews"][0]["uri"]).read_bytes())
        for q, level in ((20, 6), (90, 6), (90, 1))
    ]
    assert sizes == sorted(sizes)


def test_a_clip_of_three_frames_has_no_window(tmp_path: Path) -> None:
    assert preview_row(write_numbered(tmp_path / "n.mp4", 3))["previews"] == []


def test_a_window_that_the_clip_ends_before_has_no_file(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "n.mp4", 58)
    observer = preview.Observer(preview.Params(), clips.row(path) | {"num_frames": 120}, clips.env(tmp_path), CUT)
    entries = clips.observe(path, observer)["previews"]
    assert [entry["start_frame"] for entry in entries] == [0]


def test_a_picture_too_wide_for_webp_is_refused(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "wide.mp4", [clips.plain((16400, 16), 90)] * 4, codec="mjpeg", pix_fmt="yuvj420p")
    with pytest.raises(MediaError, match="UNSUPPORTED"):
        preview_row(path)


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "n.mp4", 40)
    first = Path(preview_row(path)["previews"][0]["uri"]).read_bytes()
    assert Path(preview_row(path)["previews"][0]["uri"]).read_bytes() == first
