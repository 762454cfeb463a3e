"""Normalized frames: upright, of one even size, 8 bits 4:2:0, limited range."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange

from tests.support import odd_pictures
from tests.support.clip_units import (
    decoded_frames,
    only_clip,
    unit,
    whole_clip,
)
from tests.support.footage import numbers, read_number, rgb, write_numbered
from udfs.runtime.context import Env
from udfs.video.normalize import ASPECT_CHANGED, SIZE_CHANGED, Normalizer


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx265", "yuv420p10le"),
        ("a.mkv", "ffv1", "yuv422p10le"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "qtrle", "rgb24"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mkv", "ffv1", "gray"),
    ],
)
def test_every_pixel_format_becomes_8_bit_420(tmp_path: Path, env: Env, name: str, codec: str, pix_fmt: str) -> None:
    path = write_numbered(tmp_path / name, 12, codec=codec, pix_fmt=pix_fmt, full_range=pix_fmt.startswith("yuvj"))
    made = only_clip(unit(path, (3, 12)), env)
    assert numbers(made["uri"]) == list(range(3, 12))
    with av.open(made["uri"]) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.parametrize("full_range", [False, True])
def test_black_and_white_are_of_limited_range(tmp_path: Path, env: Env, full_range: bool) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 12, full_range=full_range), (0, 12)), env)
    with av.open(made["uri"]) as container:
        frame = next(container.decode(video=0))
    luma = frame.to_ndarray()[:240]
    assert frame.color_range != ColorRange.JPEG
    assert luma[10:30, 10:30].mean() == pytest.approx(16 + 20 * 219 / 255, abs=3)  # number 0: its first block is black
    assert luma[90:110, 10:30].mean() == pytest.approx(16 + 235 * 219 / 255, abs=3)  # and its check bits are white


def test_color_tags_are_kept(tmp_path: Path, env: Env) -> None:
    tags = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709"}
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 12, options=tags), (0, 12)), env)
    with av.open(made["uri"]) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)


def test_an_odd_size_loses_a_pixel_and_is_not_scaled(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mkv", 12, codec="ffv1", size=(163, 119)), (0, 12)), env, crf=1)
    assert (made["width"], made["height"]) == (162, 118)
    with av.open(str(tmp_path / "a.mkv")) as before, av.open(made["uri"]) as after:
        whole, cropped = next(before.decode(video=0)), next(after.decode(video=0))
    seen = cropped.to_ndarray(format="gray").astype(int) - whole.to_ndarray(format="gray")[:118, :162].astype(int)
    assert np.abs(seen).mean() < 2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pixels_come_upright(tmp_path: Path, env: Env, rotation: int) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 12, rotation=rotation), (2, 12)), env)
    assert (made["width"], made["height"]) == ((320, 240) if rotation == 180 else (240, 320))
    with av.open(made["uri"]) as container:
        shown = list(container.decode(video=0))
    assert [read_number(frame) for frame in shown] == list(range(2, 12))  # as stored, not as a player would turn it
    assert {frame.rotation for frame in shown} == {0}


def test_a_change_of_size_midway_is_scaled_to_the_first_frame(tmp_path: Path, env: Env) -> None:
    plain = {"bf": "0"}  # B-frames would shift the second file's times
    wide = write_numbered(tmp_path / "a.ts", 30, options=plain)
    small = write_numbered(
        tmp_path / "b.ts", times_s=[1 + k / 30 for k in range(30)], size=(160, 120), first=30, options=plain
    )
    joined = tmp_path / "joined.ts"
    joined.write_bytes(wide.read_bytes() + small.read_bytes())
    made = only_clip(unit(joined, (15, 45), is_vfr=False), env)
    assert numbers(made["uri"]) == list(range(15, 45))
    assert (made["width"], made["height"]) == (320, 240)


def test_frames_of_another_size_are_fitted_between_bars_and_the_row_says_so() -> None:
    normalize = Normalizer(next(odd_pictures.numbered(1, (320, 180))))
    tall = rgb(normalize(odd_pictures.as_frame(np.full((320, 240, 3), 200, np.uint8))))
    assert tall.shape == (180, 320, 3)
    assert list(normalize.warnings) == [SIZE_CHANGED]
    lit = np.flatnonzero(tall[90, :, 0] > 100)
    assert abs(np.ptp(lit) + 1 - 180 * 240 / 320) <= 2  # as wide as the shape asks, in the middle
    assert abs(lit.mean() - 159.5) <= 1
    # Of the same shape: no bars.
    assert read_number(rgb(normalize(next(odd_pictures.numbered(1, (640, 360), first=9))))) == 9


def test_pixels_that_change_their_shape_keep_the_picture_round() -> None:
    first, later = Fraction(16, 11), Fraction(12, 11)
    normalize = Normalizer(odd_pictures.as_frame(odd_pictures.circle((352, 288), first)), first)
    frame = rgb(normalize(odd_pictures.as_frame(odd_pictures.circle((352, 288), later)), later))
    assert odd_pictures.roundness(frame) * float(first) == pytest.approx(1, abs=0.03)
    assert list(normalize.warnings) == [ASPECT_CHANGED]


def test_wide_gamut_sdr_keeps_its_tags(tmp_path: Path) -> None:
    def wide() -> Any:
        for frame in odd_pictures.numbered(5, pix_fmt="yuv420p10le"):
            frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, 14
            yield frame

    frame = decoded_frames(whole_clip(odd_pictures.write(tmp_path / "a.mp4", wide(), "libx265"), tmp_path)["uri"])[0]
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 14)
