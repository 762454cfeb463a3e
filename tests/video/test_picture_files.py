"""Files of every container, codec and picture oddity: the clip shows what a player shows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from tests.support import broken_files, odd_pictures
from tests.support.clip_units import decoded_frames, preview_picture, sample_aspect, signals_of, whole_clip
from tests.support.footage import draw, read_number, rgb
from tests.video.test_picture import ANAMORPHIC
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.video import container
from udfs.video.picture import HLG, PQ

pytestmark = pytest.mark.files

KINDS = [
    ("mp4", "libx264", "yuv420p"),
    ("mp4", "libsvtav1", "yuv420p"),
    ("mp4", "libvpx-vp9", "yuv420p"),
    ("mov", "libx265", "yuv420p"),
    ("mov", "prores", "yuv422p10le"),
    ("mov", "mjpeg", "yuvj420p"),
    ("3gp", "mpeg4", "yuv420p"),
    ("mkv", "libx264", "yuv444p"),
    ("avi", "mpeg4", "yuv420p"),
    ("flv", "libx264", "yuv420p"),
    ("ts", "libx264", "yuv420p"),
    ("ts", "libx265", "yuv420p"),
    ("ts", "mpeg2video", "yuv420p"),
    ("mpg", "mpeg2video", "yuv420p"),
    ("mxf", "mpeg2video", "yuv422p"),
]
ILME = {"flags": "+ilme+ildct"}
WOVEN = [
    ("ts", "mpeg2video", ILME | {"b": "8M"}),
    ("mpg", "mpeg2video", ILME | {"b": "8M"}),
    ("mxf", "mpeg2video", ILME | {"b": "8M"}),
    ("avi", "mpeg4", {"flags": "+ilme+ildct+qscale", "qscale": "3"}),
    ("mp4", "libx264", ILME | {"x264-params": "interlaced=1:tff=1"}),
    ("ts", "libx264", ILME | {"x264-params": "interlaced=1:tff=1"}),
    ("mkv", "libx264", ILME | {"x264-params": "interlaced=1:tff=1"}),
    ("mov", "prores", ILME),
    ("mkv", "ffv1", ILME),
]
HDR = [
    ("mp4", "libx265", "yuv420p10le"),
    ("mov", "libx265", "yuv422p10le"),
    ("mkv", "libx265", "yuv420p10le"),
    ("ts", "libx265", "yuv420p10le"),
    ("mp4", "libsvtav1", "yuv420p10le"),
    ("mkv", "libsvtav1", "yuv420p10le"),
    ("mp4", "libx264", "yuv420p10le"),
    ("mp4", "libx264", "yuv420p"),
    ("webm", "libvpx-vp9", "yuv420p"),  # whose stream cannot say it: only its container does
    ("mov", "prores", "yuv422p10le"),
    ("mkv", "ffv1", "yuv420p10le"),
]


@pytest.mark.parametrize(("suffix", "codec", "pix_fmt"), KINDS)
def test_clips_keep_the_shape_of_pixels(tmp_path: Path, suffix: str, codec: str, pix_fmt: str) -> None:
    disc = odd_pictures.as_frame(odd_pictures.circle((720, 576), ANAMORPHIC), pix_fmt)
    path = odd_pictures.write(tmp_path / f"a.{suffix}", iter([disc] * 30), codec, aspect=ANAMORPHIC)
    assert container.probe(str(path), Limits())["sample_aspect_ratio"] == pytest.approx(float(ANAMORPHIC), rel=0.02)
    made = whole_clip(path, tmp_path)
    # FLV and MPEG-2 round it.
    assert float(sample_aspect(made["uri"]) or 1) == pytest.approx(float(ANAMORPHIC), rel=0.02)
    row = signals_of(made, tmp_path)
    for uri in (made["uri"], row["proxy_uri"]):
        (picture,) = extract.single_frame(uri, "middle", extract.target_res(-1), Limits())[1]
        assert odd_pictures.roundness(picture) == pytest.approx(1, abs=0.03)
    assert odd_pictures.roundness(preview_picture(row)) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("suffix", "codec", "options"), WOVEN)
def test_interlaced_frames_become_progressive(tmp_path: Path, suffix: str, codec: str, options: dict[str, str]) -> None:
    pictures = odd_pictures.interlaced(40, (720, 576), pix_fmt="yuv422p10le" if codec == "prores" else "yuv420p")
    path = odd_pictures.write(tmp_path / f"a.{suffix}", pictures, codec, options=options)
    facts = container.probe(str(path), Limits())
    assert facts["field_order"] in ("tt", "tb")
    raw = decoded_frames(str(path))
    assert min(odd_pictures.comb(rgb(frame)) for frame in raw) > 3
    made = whole_clip(path, tmp_path, crf=12)
    assert made["num_frames"] == 40
    assert [read_number(frame) for frame in decoded_frames(made["uri"])] == list(range(40))
    assert max(odd_pictures.comb(rgb(frame)) for frame in decoded_frames(made["uri"])) < 0.6


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(("suffix", "codec", "pix_fmt"), HDR)
def test_hdr_becomes_sdr(tmp_path: Path, suffix: str, codec: str, pix_fmt: str, transfer: int) -> None:
    picture = np.vstack([odd_pictures.bars(), draw(5, (448, 256))])
    pictures = (odd_pictures.as_hdr(picture, transfer, pix_fmt=pix_fmt) for _ in range(30))
    path = odd_pictures.write(tmp_path / f"a.{suffix}", pictures, codec)
    facts = container.probe(str(path), Limits())
    assert (facts["is_hdr"], facts["bit_depth"]) == (True, 8 if pix_fmt == "yuv420p" else 10)
    modes = ["transcode", *(["copy"] if codec not in ("prores", "ffv1") else [])]
    for mode in modes:
        made = whole_clip(path, tmp_path / mode, mode=mode)
        assert made["is_hdr"] == (mode == "copy")
        row = signals_of(made, tmp_path / mode)
        pictures_seen = [
            extract.single_frame(uri, "middle", extract.target_res(-1), Limits())[1][0]
            for uri in (made["uri"], row["proxy_uri"])
        ]
        for seen in (*pictures_seen, preview_picture(row)):
            assert np.abs(odd_pictures.bar_colors(seen) - np.array(odd_pictures.BARS)).max() < 40


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "libx265"])
@pytest.mark.parametrize("later", [(640, 360), (240, 180), (180, 320)])
def test_sizes_that_change_are_scaled_to_the_first(tmp_path: Path, codec: str, later: tuple[int, int]) -> None:
    sizes = [(320, 180), later]
    parts = [
        odd_pictures.write(tmp_path / f"{k}.ts", odd_pictures.numbered(25, size, first=25 * k), codec)
        for k, size in enumerate(sizes)
    ]
    made = whole_clip(broken_files.join_files(tmp_path / "a.ts", *parts), tmp_path)
    shown = decoded_frames(made["uri"])
    assert {(frame.width, frame.height) for frame in shown} == {(320, 180)}
    assert made["picture_warning"] == "size changed midway"
    # FFmpeg's decoder of MPEG-2 loses the frame that it holds when the size changes.
    assert [read_number(_without_bars(frame, later)) for frame in shown[-20:]] == list(range(30, 50))


def _without_bars(frame: VideoFrame, shape: tuple[int, int]) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    picture = rgb(frame)
    width = round(picture.shape[0] * Fraction(*shape) / 2) * 2
    left = (picture.shape[1] - width) // 2
    return picture[:, max(0, left) : left + width]


def test_interlaced_frames_keep_their_shape_and_turn(tmp_path: Path) -> None:
    """All of it at once, as an old camera's recording that was turned later."""
    woven: Iterator[VideoFrame] = odd_pictures.interlaced(20, (720, 576))
    options = ILME | {"x264-params": "interlaced=1:tff=1"}
    path = odd_pictures.write(tmp_path / "a.mp4", woven, options=options, aspect=ANAMORPHIC, matrix=(180, False, False))
    made = whole_clip(path, tmp_path, crf=12)
    assert sample_aspect(made["uri"]) == ANAMORPHIC
    assert [read_number(np.rot90(rgb(frame), 2)) for frame in decoded_frames(made["uri"])] == list(range(20))
