"""Quality scores tell black, frozen, blurred and letterboxed clips from good ones."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support import clips
from tests.support.footage import write_numbered
from udfs.runtime.context import Row
from udfs.signals import quality

SIZE = (320, 240)


def scores(path: Path, **params: float) -> Row:
    return clips.observe(
        path, quality.Observer(quality.Params(**({"fps": 10.0} | params)), clips.row(path), clips.env(path.parent))
    )


def noisy_stills(num_frames: int, spread: int) -> list[clips.Picture]:
    """A still picture under noise that differs in every frame."""
    still, rng = clips.texture(SIZE).astype(int), np.random.default_rng(1)
    return [
        (still + rng.integers(-spread, spread + 1, still.shape)).clip(0, 255).astype(np.uint8)
        for _ in range(num_frames)
    ]


def test_a_numbered_clip_is_neither_black_nor_frozen_nor_barred(tmp_path: Path) -> None:
    row = scores(write_numbered(tmp_path / "n.mp4", 30))
    assert (row["blackness"], row["freeze"], row["letterbox"]) == (0.0, 0.0, [0, 0, 320, 240])


@pytest.mark.parametrize("full_range", [False, True])
def test_black_is_black_in_either_range(tmp_path: Path, full_range: bool) -> None:
    pictures = [clips.plain(SIZE, 0)] * 30
    path = clips.write(tmp_path / "black.mp4", pictures, pix_fmt="yuvj420p" if full_range else "yuv420p")
    row = scores(path)
    assert row == {"blackness": 1.0, "freeze": 1.0, "blur": 0.0, "letterbox": None}


def test_blackness_is_the_share_of_black_frames(tmp_path: Path) -> None:
    pictures = [clips.plain(SIZE, 0)] * 10 + [clips.texture(SIZE)] * 30
    assert scores(clips.write(tmp_path / "fade.mp4", pictures, fps=10))["blackness"] == pytest.approx(0.25)


def test_a_dark_scene_is_not_black(tmp_path: Path) -> None:
    dark = [(picture * 0.3).astype(np.uint8) for picture in clips.panned(SIZE, 20, 3)]
    row = scores(clips.write(tmp_path / "dark.mp4", dark))
    assert (row["blackness"], row["letterbox"]) == (0.0, [0, 0, 320, 240])


@pytest.mark.parametrize("crf", ["18", "28"])
@pytest.mark.parametrize("spread", [0, 6])
def test_a_still_scene_is_frozen_under_noise_and_coding(tmp_path: Path, crf: str, spread: int) -> None:
    path = clips.write(tmp_path / "still.mp4", noisy_stills(30, spread), options={"crf": crf, "g": "10"})
    assert scores(path)["freeze"] == 1.0


def test_a_small_moving_object_is_no_freeze(tmp_path: Path) -> None:
    pictures = [clips.texture(SIZE).copy() for _ in range(30)]
    for k, picture in enumerate(pictures):
        picture[100:116, 4 * k : 4 * k + 16] = 255
    assert scores(clips.write(tmp_path / "ball.mp4", pictures))["freeze"] == 0.0


def test_freeze_is_the_share_of_frozen_frames(tmp_path: Path) -> None:
    moving = clips.panned(SIZE, 21, 5)
    path = clips.write(tmp_path / "stuck.mp4", moving + [moving[-1]] * 20, fps=10)
    assert scores(path)["freeze"] == pytest.approx(0.5)


def test_freeze_of_a_single_frame_is_null(tmp_path: Path) -> None:
    row = scores(clips.write(tmp_path / "one.mp4", [clips.texture(SIZE)]))
    assert row["freeze"] is None
    assert row["blackness"] == 0.0


def test_a_blurred_clip_has_a_lower_blur_score(tmp_path: Path) -> None:
    sharp = clips.panned(SIZE, 10, 2)
    soft = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), np.uint8) for picture in sharp]
    pair = [
        scores(clips.write(tmp_path / f"{k}.mp4", pictures, options={"crf": "15"}))["blur"]
        for k, pictures in enumerate((sharp, soft))
    ]
    assert pair[1] < pair[0] / 4


def test_sharpness_is_the_variance_of_the_four_neighbour_laplacian() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    p = np.pad(picture.astype(float), 1, mode="reflect")
    laplacian = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * p[1:-1, 1:-1]
    assert quality.sharpness(picture) == pytest.approx(laplacian.var(), rel=1e-6)


def test_pure_noise_gives_finite_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    row = scores(
        clips.write(tmp_path / "noise.mp4", [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(10)])
    )
    assert all(math.isfinite(row[name]) for name in ("blackness", "freeze", "blur"))
    assert (row["blackness"], row["freeze"], row["letterbox"]) == (0.0, 0.0, [0, 0, 320, 240])
    assert row["blur"] > 1000


@pytest.mark.parametrize("box", [(0, 40, 320, 160), (48, 0, 224, 240), (32, 24, 250, 200)])
def test_letterbox_is_the_box_inside_black_bars(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    x, y, width, height = box
    pictures = [clips.plain(SIZE, 0) for _ in range(20)]
    for picture, inside in zip(pictures, clips.panned((width, height), 20, 3), strict=True):
        picture[y : y + height, x : x + width] = inside // 2 + 100
    letterbox = scores(clips.write(tmp_path / "bars.mp4", pictures))["letterbox"]
    assert letterbox == pytest.approx(box, abs=2)  # the edges of bars bleed when chroma and blocks are coded


def test_a_rotated_clip_is_judged_upright(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "phone.mp4", 10, rotation=90)
    assert scores(path)["letterbox"] == [0, 0, 240, 320]


def test_ten_bits_score_like_eight(tmp_path: Path) -> None:
    paths = [write_numbered(tmp_path / f"{pix_fmt}.mp4", 10, pix_fmt=pix_fmt) for pix_fmt in ("yuv420p", "yuv420p10le")]
    eight, ten = (scores(path) for path in paths)
    assert ten["blur"] == pytest.approx(eight["blur"], rel=0.05)
    assert (ten["blackness"], ten["letterbox"]) == (eight["blackness"], eight["letterbox"])
