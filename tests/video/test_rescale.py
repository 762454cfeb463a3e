"""Scaled frames and pixels: of the asked size, upright, and SDR."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.support import odd_pictures
from tests.support.clip_units import decoded_frames
from tests.support.footage import draw, read_number, write_numbered
from udfs.core.errors import MediaError
from udfs.video.picture import HLG
from udfs.video.rescale import Scaler, oriented_pixels, scaled_frame, scaled_pixels, upright_pixels, upright_size

SIZE = (320, 240)


def frame_of(number: int) -> VideoFrame:
    return VideoFrame.from_ndarray(draw(number, SIZE), format="rgb24").reformat(format="yuv420p")


def test_a_frame_that_has_the_size_and_format_is_returned_as_it_is() -> None:
    frame = frame_of(5)
    assert scaled_frame(frame, SIZE, "yuv420p", Scaler()) is frame


@pytest.mark.parametrize(("pixel_format", "shape"), [("rgb24", (120, 160, 3)), ("gray", (120, 160))])
def test_pixels_are_height_by_width(pixel_format: str, shape: tuple[int, ...]) -> None:
    pixels = scaled_pixels(frame_of(5), (160, 120), pixel_format, Scaler())
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_frame_comes_upright(tmp_path: Path, rotation: int) -> None:
    path = write_numbered(tmp_path / "v.mp4", 6, size=SIZE, rotation=rotation)
    frame, scaler = decoded_frames(str(path))[5], Scaler()
    width, height = SIZE if rotation % 180 == 0 else SIZE[::-1]
    assert upright_size(frame, scaler) == (width, height)
    assert read_number(upright_pixels(frame, (width, height), scaler)) == 5


def test_pixels_that_are_not_square_stretch_the_size() -> None:
    assert upright_size(frame_of(0), Scaler(), Fraction(4, 3)) == (427, 240)
    assert upright_size(frame_of(0), Scaler(), Fraction(3, 4)) == (320, 320)


def test_a_picture_is_mirrored_before_it_is_turned(tmp_path: Path) -> None:
    path = odd_pictures.write(tmp_path / "v.mp4", odd_pictures.numbered(2, SIZE), matrix=(90, True, False))
    view = Scaler().orientation(decoded_frames(str(path))[0])
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (view.is_mirrored, view.turns % 2) == (True, 1)
    assert np.array_equal(oriented_pixels(picture, view), np.rot90(np.fliplr(picture), view.turns))


def test_hdr_is_scaled_to_sdr() -> None:
    frame = odd_pictures.as_hdr(odd_pictures.bars(), HLG)
    pixels = scaled_pixels(frame, (frame.width, frame.height), "rgb24", Scaler())
    assert np.abs(odd_pictures.bar_colors(pixels) - np.array(odd_pictures.BARS)).max() < 30


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(MediaError, match="UNSUPPORTED: no conversion from yuv420p to nonsense"):
        scaled_frame(frame_of(0), SIZE, "nonsense", Scaler())
