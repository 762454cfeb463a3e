"""Pictures: sample aspect ratio, orientation, field order and color, kept in clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.support import odd_pictures
from tests.support.clip_units import (
    decoded_frames,
    preview_picture,
    sample_aspect,
    signals_of,
    whole_clip,
)
from tests.support.footage import Rgb, draw, read_number, rgb
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.video import container
from udfs.video.picture import Orientation, field_order, orientation, square_pixel_size

ANAMORPHIC = Fraction(64, 45)  # of 640x512 shown as 16:9
# By degrees, mirrored across and mirrored down: what NumPy does to the coded picture.
FLIPS: dict[tuple[float, bool, bool], Any] = {
    (0, True, False): np.fliplr,
    (0, False, True): np.flipud,
    (90, False, False): lambda p: np.rot90(p, 1),
    (90, True, False): lambda p: np.fliplr(np.rot90(p, 1)),
    (270, True, False): lambda p: np.fliplr(np.rot90(p, 3)),
    (180, False, False): lambda p: np.rot90(p, 2),
}


# Sample aspect ratio


@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_the_clip_keeps_the_shape_of_its_pixels(tmp_path: Path, mode: str) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.numbered(20, (640, 512)), aspect=ANAMORPHIC)
    made = whole_clip(path, tmp_path, mode=mode)
    assert sample_aspect(made["uri"]) == ANAMORPHIC
    assert (made["width"], made["height"], made["sample_aspect_ratio"]) == (640, 512, pytest.approx(64 / 45))
    assert container.probe(str(path), Limits())["sample_aspect_ratio"] == pytest.approx(64 / 45)


def test_a_quarter_of_a_turn_turns_the_pixels_too(tmp_path: Path) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", odd_pictures.numbered(10, (640, 512)), aspect=ANAMORPHIC, matrix=(90, False, False)
    )
    made = whole_clip(path, tmp_path)
    assert sample_aspect(made["uri"]) == 1 / ANAMORPHIC
    assert (made["width"], made["height"]) == (512, 640)


@pytest.mark.parametrize("stated", [Fraction(1, 100), Fraction(255, 1), Fraction(1)])
@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_an_absurd_aspect_is_none(tmp_path: Path, stated: Fraction, mode: str) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.numbered(10), aspect=stated)
    assert container.probe(str(path), Limits())["sample_aspect_ratio"] == 1
    assert sample_aspect(whole_clip(path, tmp_path, mode=mode)["uri"]) in (None, 1)


def test_square_pixel_size_stretches_and_never_shrinks() -> None:
    assert square_pixel_size((640, 512), ANAMORPHIC) == (910, 512)
    assert square_pixel_size((1920, 1080), Fraction(1)) == (1920, 1080)
    assert square_pixel_size((704, 480), Fraction(10, 11)) == (704, 528)


# Orientation


@pytest.mark.parametrize("matrix", FLIPS, ids=str)
@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_a_mirrored_picture_comes_out_the_right_way_round(
    tmp_path: Path, matrix: tuple[float, bool, bool], mode: str
) -> None:
    right = draw(5, (320, 240))
    inverse = next(
        p for p in (lambda p: p, np.fliplr, np.flipud, *_turns()) if np.array_equal(FLIPS[matrix](p(right)), right)
    )
    coded = np.ascontiguousarray(inverse(right))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([odd_pictures.as_frame(coded)] * 12), matrix=matrix)
    facts = container.probe(str(path), Limits())
    assert facts["is_mirrored"] == (matrix[1] or matrix[2])
    made = whole_clip(path, tmp_path, mode=mode)
    assert (made["width"], made["height"]) == (320, 240)
    assert read_number(_as_shown(decoded_frames(made["uri"])[3])) == 5


def _turns() -> list[Any]:
    turns = [lambda p, k=k: np.rot90(p, k) for k in (1, 2, 3)]
    return [*turns, *(lambda p, k=k: np.rot90(np.fliplr(p), k) for k in (1, 3))]


def _as_shown(frame: VideoFrame) -> Rgb:
    seen = orientation(frame)
    return np.rot90(np.fliplr(rgb(frame)) if seen.is_mirrored else rgb(frame), seen.turns)


def test_odd_angles_are_rounded_to_quarters(tmp_path: Path) -> None:
    found = []
    for degrees in (89.6, 44.0, -90.2):
        path = odd_pictures.write(tmp_path / f"{degrees}.mp4", odd_pictures.numbered(2), matrix=(degrees, False, False))
        found.append(orientation(decoded_frames(str(path))[0]))
    assert found == [Orientation(turns=1), Orientation(), Orientation(turns=3)]


# Order of fields


@pytest.mark.parametrize("top_first", [True, False])
def test_the_frames_tell_the_order_where_the_header_is_silent(tmp_path: Path, top_first: bool) -> None:
    (frame,) = odd_pictures.interlaced(1, top_first=top_first)
    path = odd_pictures.write(tmp_path / "a.mkv", odd_pictures.numbered(2))
    with av.open(str(path)) as container:
        assert field_order(container.streams.video[0], frame) == ("tt" if top_first else "bb")


# Color


def test_color_is_read_by_ffmpegs_names(tmp_path: Path) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(3)), "libx265"
    )
    facts = container.probe(str(path), Limits())
    names = ("color_primaries", "color_transfer", "color_space", "color_range", "bit_depth", "is_hdr", "field_order")
    assert [facts[name] for name in names] == ["bt2020", "smpte2084", "bt2020nc", "tv", 10, True, "progressive"]
    plain = container.probe(str(odd_pictures.write(tmp_path / "b.mp4", odd_pictures.numbered(3))), Limits())
    assert [plain[name] for name in names] == [None, None, None, plain["color_range"], 8, False, "progressive"]


# What is made of a clip


@pytest.mark.parametrize("mode", ["transcode", "copy"])
@pytest.mark.parametrize("matrix", [None, (90, False, False)], ids=["as coded", "turned"])
def test_pictures_of_a_clip_have_its_true_shape(
    tmp_path: Path, mode: str, matrix: tuple[float, bool, bool] | None
) -> None:
    disc = odd_pictures.as_frame(odd_pictures.circle((640, 512), ANAMORPHIC))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([disc] * 30), aspect=ANAMORPHIC, matrix=matrix)
    made = whole_clip(path, tmp_path, mode=mode)
    row = signals_of(made, tmp_path)
    size = (910, 512) if matrix is None else (512, 910)
    for uri in (made["uri"], row["proxy_uri"]):
        (picture,) = extract.single_frame(uri, "middle", extract.target_res(-1), Limits())[1]
        assert odd_pictures.roundness(picture) == pytest.approx(1, abs=0.02)
    (picture,) = extract.single_frame(made["uri"], "middle", extract.target_res(-1), Limits())[1]
    assert picture.shape == (size[1], size[0], 3)
    assert odd_pictures.roundness(preview_picture(row)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_proxy_of_a_mirrored_copy_is_the_right_way_round(tmp_path: Path, mirrored: bool) -> None:
    # FFmpeg mirrors after the turn.
    coded = odd_pictures.as_frame(np.ascontiguousarray(np.rot90(draw(5, (320, 240)), -1)))
    if mirrored:
        coded = odd_pictures.as_frame(np.ascontiguousarray(np.rot90(np.fliplr(draw(5, (320, 240))), -1)))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([coded] * 30), matrix=(90, mirrored, False))
    row = signals_of(whole_clip(path, tmp_path, mode="copy"), tmp_path)
    (picture,) = extract.single_frame(row["proxy_uri"], "first", extract.target_res(-1), Limits())[1]
    assert read_number(picture) == 5
