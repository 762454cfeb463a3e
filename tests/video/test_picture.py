"""What a picture is beside its pixels: read from real files, and kept or made plain in the clip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from PIL import Image

from tests.support import clips, odd_pictures
from tests.support.footage import Rgb, draw, read_number, rgb
from udfs import analyze, clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.runtime.batching import Row
from udfs.storage import access
from udfs.video import container
from udfs.video.deinterlace import Deinterlacer
from udfs.video.normalize import ASPECT_CHANGED, SIZE_CHANGED, Upright
from udfs.video.picture import HLG, Orientation, field_order, orientation, true_size
from udfs.video.tonemap import WHITE_NITS, compress, hlg_nits, pq_nits, pq_signal

ANAMORPHIC = Fraction(64, 45)  # of 640x512 shown as 16:9
FLIPS: dict[tuple[float, bool, bool], Any] = {  # degrees, mirrored across, mirrored down -> what NumPy does to the coded picture
    (0, True, False): np.fliplr,
    (0, False, True): np.flipud,
    (90, False, False): lambda p: np.rot90(p, 1),
    (90, True, False): lambda p: np.fliplr(np.rot90(p, 1)),
    (270, True, False): lambda p: np.fliplr(np.rot90(p, 3)),
    (180, False, False): lambda p: np.rot90(p, 2),
}


def cut(path: Path, folder: Path, **settings: Any) -> Row:
    """The row of the only clip of a whole file."""
    facts = container.probe(str(path), Limits())
    span = {"clip_id": path.name.replace(".", "_"), "start_s": 0.0, "end_s": facts["duration_s"], "start_frame": None}
    unit = facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path))}
    (row,) = clip.cut(unit | {"spans": [span | {"end_frame": None}]}, Params(**settings), clips.env(folder))
    return row


def decoded(uri: str) -> list[VideoFrame]:
    with av.open(uri) as container:
        return list(container.decode(video=0))


def aspect(uri: str) -> Fraction | None:
    with av.open(uri) as container:
        return container.streams.video[0].sample_aspect_ratio


# Sample aspect ratio


@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_the_clip_keeps_the_shape_of_its_pixels(tmp_path: Path, mode: str) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.numbered(20, (640, 512)), aspect=ANAMORPHIC)
    made = cut(path, tmp_path, mode=mode)
    assert aspect(made["uri"]) == ANAMORPHIC
    assert (made["width"], made["height"], made["sample_aspect_ratio"]) == (640, 512, pytest.approx(64 / 45))
    assert container.probe(str(path), Limits())["sample_aspect_ratio"] == pytest.approx(64 / 45)


def test_a_quarter_of_a_turn_turns_the_pixels_too(tmp_path: Path) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", odd_pictures.numbered(10, (640, 512)), aspect=ANAMORPHIC, matrix=(90, False, False)
    )
    made = cut(path, tmp_path)
    assert aspect(made["uri"]) == 1 / ANAMORPHIC
    assert (made["width"], made["height"]) == (512, 640)


@pytest.mark.parametrize("stated", [Fraction(1, 100), Fraction(255, 1), Fraction(1)])
@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_an_absurd_aspect_is_none(tmp_path: Path, stated: Fraction, mode: str) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.numbered(10), aspect=stated)
    assert container.probe(str(path), Limits())["sample_aspect_ratio"] == 1
    assert aspect(cut(path, tmp_path, mode=mode)["uri"]) in (None, 1)


def test_true_size_stretches_and_never_shrinks() -> None:
    assert true_size((640, 512), ANAMORPHIC) == (910, 512)
    assert true_size((1920, 1080), Fraction(1)) == (1920, 1080)
    assert true_size((704, 480), Fraction(10, 11)) == (704, 528)


def test_frames_of_another_size_are_fitted_between_bars_and_the_row_says_so() -> None:
    upright = Upright(next(odd_pictures.numbered(1, (320, 180))))
    tall = rgb(upright(odd_pictures.as_frame(np.full((320, 240, 3), 200, np.uint8))))
    assert tall.shape == (180, 320, 3)
    assert list(upright.warnings) == [SIZE_CHANGED]
    lit = np.flatnonzero(tall[90, :, 0] > 100)
    assert abs(np.ptp(lit) + 1 - 180 * 240 / 320) <= 2  # as wide as the shape asks, in the middle
    assert abs(lit.mean() - 159.5) <= 1
    assert read_number(rgb(upright(next(odd_pictures.numbered(1, (640, 360), first=9))))) == 9  # of the same shape: no bars


def test_pixels_that_change_their_shape_keep_the_picture_round() -> None:
    first, later = Fraction(16, 11), Fraction(12, 11)
    upright = Upright(odd_pictures.as_frame(odd_pictures.circle((352, 288), first)), first)
    frame = rgb(upright(odd_pictures.as_frame(odd_pictures.circle((352, 288), later)), later))
    assert odd_pictures.roundness(frame) * float(first) == pytest.approx(1, abs=0.03)
    assert list(upright.warnings) == [ASPECT_CHANGED]


# Orientation


@pytest.mark.parametrize("matrix", FLIPS, ids=str)
@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_a_mirrored_picture_comes_out_the_right_way_round(tmp_path: Path, matrix: tuple[float, bool, bool], mode: str) -> None:
    right = draw(5, (320, 240))
    inverse = next(p for p in (lambda p: p, np.fliplr, np.flipud, *_turns()) if np.array_equal(FLIPS[matrix](p(right)), right))
    coded = np.ascontiguousarray(inverse(right))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([odd_pictures.as_frame(coded)] * 12), matrix=matrix)
    facts = container.probe(str(path), Limits())
    assert facts["is_mirrored"] == (matrix[1] or matrix[2])
    made = cut(path, tmp_path, mode=mode)
    assert (made["width"], made["height"]) == (320, 240)
    assert read_number(_as_shown(decoded(made["uri"])[3])) == 5


def _turns() -> list[Any]:
    turns = [lambda p, k=k: np.rot90(p, k) for k in (1, 2, 3)]
    return [*turns, *(lambda p, k=k: np.rot90(np.fliplr(p), k) for k in (1, 3))]


def _as_shown(frame: VideoFrame) -> Rgb:
    seen = orientation(frame)
    return np.rot90(np.fliplr(rgb(frame)) if seen.mirrored else rgb(frame), seen.turns)


def test_odd_angles_are_rounded_to_quarters(tmp_path: Path) -> None:
    found = []
    for degrees in (89.6, 44.0, -90.2):
        path = odd_pictures.write(tmp_path / f"{degrees}.mp4", odd_pictures.numbered(2), matrix=(degrees, False, False))
        found.append(orientation(decoded(str(path))[0]))
    assert found == [Orientation(turns=1), Orientation(), Orientation(turns=3)]


# Order of fields


WOVEN = {"flags": "+ilme+ildct", "x264-params": "interlaced=1:tff=1"}


def test_interlaced_frames_become_as_many_progressive_ones(tmp_path: Path) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.interlaced(30), options=WOVEN)
    assert container.probe(str(path), Limits())["field_order"] == "tt"
    woven, plain = (cut(path, tmp_path / mode, deinterlace=mode, crf=12) for mode in ("off", "auto"))
    for made, least, most in ((woven, 3, 1e9), (plain, -1, 0.2)):
        shown = decoded(made["uri"])
        assert [read_number(frame) for frame in shown] == list(range(30))
        assert [frame.time for frame in shown] == pytest.approx([k / 25 for k in range(30)])
        assert all(least < odd_pictures.comb(rgb(frame)) < most for frame in shown)


@pytest.mark.parametrize("top_first", [True, False])
def test_the_frames_tell_the_order_where_the_header_is_silent(tmp_path: Path, top_first: bool) -> None:
    (frame,) = odd_pictures.interlaced(1, top_first=top_first)
    path = odd_pictures.write(tmp_path / "a.mkv", odd_pictures.numbered(2))
    with av.open(str(path)) as container:
        assert field_order(container.streams.video[0], frame) == ("tt" if top_first else "bb")


def test_frames_that_turn_interlaced_midway_lose_none() -> None:
    given = [*odd_pictures.numbered(5), *odd_pictures.interlaced(5, first=5), *odd_pictures.numbered(3, first=10)]
    line = Deinterlacer[int](on=True)
    out = [pair for k, frame in enumerate(given) for pair in line.push(k, frame)] + list(line.flush())
    assert [note for note, _ in out] == list(range(13))
    assert [read_number(rgb(frame)) for _, frame in out] == list(range(13))
    assert out[0][1] is given[0]  # not filtered
    assert np.array_equal(rgb(out[12][1]), rgb(given[12]))
    assert max(odd_pictures.comb(rgb(frame)) for _, frame in out[5:10]) < 0.2


@pytest.mark.parametrize("count", [1, 2])
def test_a_clip_of_one_or_two_interlaced_frames_keeps_them(count: int) -> None:
    line = Deinterlacer[int](on=True)
    out = [pair for k, frame in enumerate(odd_pictures.interlaced(count)) for pair in line.push(k, frame)] + list(line.flush())
    assert [(note, read_number(rgb(frame))) for note, frame in out] == [(k, k) for k in range(count)]


def test_progressive_frames_are_not_touched() -> None:
    line = Deinterlacer[int](on=True)
    given = list(odd_pictures.numbered(3))
    assert [out for k, frame in enumerate(given) for _, out in line.push(k, frame)] == given
    assert line.graph is None


# Colour


def test_what_is_said_of_colour_is_read_by_ffmpegs_names(tmp_path: Path) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(3)), "libx265")
    facts = container.probe(str(path), Limits())
    names = ("color_primaries", "color_transfer", "color_space", "color_range", "bit_depth", "is_hdr", "field_order")
    assert [facts[name] for name in names] == ["bt2020", "smpte2084", "bt2020nc", "tv", 10, True, "progressive"]
    plain = container.probe(str(odd_pictures.write(tmp_path / "b.mp4", odd_pictures.numbered(3))), Limits())
    assert [plain[name] for name in names] == [None, None, None, plain["color_range"], 8, False, "progressive"]


@pytest.mark.parametrize("transfer", [16, HLG])
def test_hdr_becomes_sdr_that_looks_the_same(tmp_path: Path, transfer: int) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), transfer) for _ in range(10)), "libx265"
    )
    made = cut(path, tmp_path, crf=10)
    frame = decoded(made["uri"])[3]
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    assert (frame.format.name, made["is_hdr"], made["picture_warning"]) == ("yuv420p", False, None)
    assert np.abs(odd_pictures.bar_colors(rgb(frame)) - np.array(odd_pictures.BARS)).max() < 30
    raw = odd_pictures.bar_colors(rgb(decoded(str(path))[3]))
    assert np.abs(raw - np.array(odd_pictures.BARS)).max() > 60  # what it would be without


@pytest.mark.parametrize("encoder", ["libx264", "libsvtav1"])
def test_hdr_is_kept_in_ten_bits_if_asked(tmp_path: Path, encoder: str) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(6)), "libx265")
    made = cut(path, tmp_path, hdr="keep", encoder=encoder)
    facts = container.probe(made["uri"], Limits())
    assert (facts["bit_depth"], facts["color_transfer"], facts["color_primaries"]) == (10, "smpte2084", "bt2020")
    assert (made["is_hdr"], made["picture_warning"]) == (True, None)


def test_hdr_that_an_encoder_keeps_in_eight_bits_is_a_warning(tmp_path: Path) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(6)), "libx265")
    made = cut(path, tmp_path, hdr="keep", encoder="libvpx-vp9")
    assert container.probe(made["uri"], Limits())["color_transfer"] == "smpte2084"
    assert (made["is_hdr"], made["picture_warning"]) == (True, "HDR kept at 8 bits")


def test_the_curve_keeps_dark_light_and_ends_at_the_white_of_sdr() -> None:
    nits = np.array([0.0, 1, 10, 30, 100, 203, 400, 1000])
    mapped = compress(nits, 1000.0)
    assert mapped[:4] == pytest.approx(nits[:4], abs=0.05)
    assert (np.diff(mapped) > 0).all()
    assert mapped[-1] == pytest.approx(WHITE_NITS, rel=0.001)
    assert compress(nits, WHITE_NITS)[:5] == pytest.approx(nits[:5], abs=0.05)  # of a master no brighter than SDR, nothing


def test_transfers_are_those_of_the_standard() -> None:
    assert pq_signal(np.array([0.0, 100.0, 203.0, 1000.0, 10_000.0])) == pytest.approx([0, 0.508, 0.581, 0.752, 1], abs=0.001)
    assert pq_nits(pq_signal(np.array([0.1, 26.0, 4000.0]))) == pytest.approx([0.1, 26, 4000], rel=1e-6)
    grey = hlg_nits(np.full((3, 3), [[0.38], [0.75], [1.0]]))[:, 0]
    assert grey == pytest.approx([26, 203, 1000], rel=0.03)  # ITU-R BT.2408-7, table 1


def test_wide_gamut_sdr_keeps_its_tags(tmp_path: Path) -> None:
    def wide() -> Any:
        for frame in odd_pictures.numbered(5, pix_fmt="yuv420p10le"):
            frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, 14
            yield frame

    frame = decoded(cut(odd_pictures.write(tmp_path / "a.mp4", wide(), "libx265"), tmp_path)["uri"])[0]
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 14)


# What is made of a clip


def signals(made: Row, folder: Path) -> Row:
    (row,) = analyze.measure(made, analyze.Settings(), clips.env(folder))
    return row


def preview(row: Row) -> Rgb:
    with Image.open(row["previews"][0]["uri"]) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("mode", ["transcode", "copy"])
@pytest.mark.parametrize("matrix", [None, (90, False, False)], ids=["as coded", "turned"])
def test_whoever_looks_at_a_clip_sees_its_true_shape(tmp_path: Path, mode: str, matrix: tuple[float, bool, bool] | None) -> None:
    disc = odd_pictures.as_frame(odd_pictures.circle((640, 512), ANAMORPHIC))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([disc] * 30), aspect=ANAMORPHIC, matrix=matrix)
    made = cut(path, tmp_path, mode=mode)
    row = signals(made, tmp_path)
    size = (910, 512) if matrix is None else (512, 910)
    for uri in (made["uri"], row["proxy_uri"]):
        (picture,) = extract.single_frame(uri, "middle", extract.target_res(-1), Limits())[1]
        assert odd_pictures.roundness(picture) == pytest.approx(1, abs=0.02)
    (picture,) = extract.single_frame(made["uri"], "middle", extract.target_res(-1), Limits())[1]
    assert picture.shape == (size[1], size[0], 3)
    assert odd_pictures.roundness(preview(row)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_proxy_of_a_mirrored_copy_is_the_right_way_round(tmp_path: Path, mirrored: bool) -> None:
    coded = odd_pictures.as_frame(np.ascontiguousarray(np.rot90(draw(5, (320, 240)), -1)))  # FFmpeg mirrors after the turn
    if mirrored:
        coded = odd_pictures.as_frame(np.ascontiguousarray(np.rot90(np.fliplr(draw(5, (320, 240))), -1)))
    path = odd_pictures.write(tmp_path / "a.mp4", iter([coded] * 30), matrix=(90, mirrored, False))
    row = signals(cut(path, tmp_path, mode="copy"), tmp_path)
    (picture,) = extract.single_frame(row["proxy_uri"], "first", extract.target_res(-1), Limits())[1]
    assert read_number(picture) == 5


def test_a_copied_hdr_clip_is_looked_at_as_sdr(tmp_path: Path) -> None:
    picture = np.vstack([odd_pictures.bars(), draw(5, (448, 256))])
    sdr = odd_pictures.write(tmp_path / "sdr.mp4", iter([odd_pictures.as_frame(picture)] * 30))
    hdr = odd_pictures.write(tmp_path / "hdr.mp4", (odd_pictures.as_hdr(picture, 16) for _ in range(30)), "libx265")
    plain, copied = (signals(cut(path, tmp_path, mode="copy"), tmp_path) for path in (sdr, hdr))
    assert bin(int(plain["phash"][0], 16) ^ int(copied["phash"][0], 16)).count("1") <= 4
    for uri in (tmp_path / "hdr.mp4", copied["proxy_uri"]):
        (picture,) = extract.single_frame(str(uri), "middle", extract.target_res(-1), Limits())[1]
        assert np.abs(odd_pictures.bar_colors(picture) - np.array(odd_pictures.BARS)).max() < 30
    assert np.abs(odd_pictures.bar_colors(preview(copied)) - odd_pictures.bar_colors(preview(plain))).max() < 30
    with av.open(copied["proxy_uri"]) as container:
        assert next(container.decode(video=0)).color_trc == 1
