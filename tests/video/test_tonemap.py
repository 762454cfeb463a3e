"""Tone mapping: HDR becomes SDR that looks the same, by the formulas of the standards."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.support import odd_pictures
from tests.support.clip_units import (
    decoded_frames,
    preview_picture,
    signals_of,
    whole_clip,
)
from tests.support.footage import draw, rgb
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.video import container
from udfs.video.picture import HLG
from udfs.video.tonemap import WHITE_NITS, compress, hlg_nits, pq_nits, pq_signal


@pytest.mark.parametrize("transfer", [16, HLG])
def test_hdr_becomes_sdr_that_looks_the_same(tmp_path: Path, transfer: int) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), transfer) for _ in range(10)), "libx265"
    )
    made = whole_clip(path, tmp_path, crf=10)
    frame = decoded_frames(made["uri"])[3]
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    assert (frame.format.name, made["is_hdr"], made["picture_warning"]) == ("yuv420p", False, None)
    assert np.abs(odd_pictures.bar_colors(rgb(frame)) - np.array(odd_pictures.BARS)).max() < 30
    raw = odd_pictures.bar_colors(rgb(decoded_frames(str(path))[3]))
    assert np.abs(raw - np.array(odd_pictures.BARS)).max() > 60  # what it would be without


@pytest.mark.parametrize("encoder", ["libx264", "libsvtav1"])
def test_hdr_is_kept_in_ten_bits_if_asked(tmp_path: Path, encoder: str) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(6)), "libx265"
    )
    made = whole_clip(path, tmp_path, hdr="keep", encoder=encoder)
    facts = container.probe(made["uri"], Limits())
    assert (facts["bit_depth"], facts["color_transfer"], facts["color_primaries"]) == (10, "smpte2084", "bt2020")
    assert (made["is_hdr"], made["picture_warning"]) == (True, None)


def test_hdr_that_an_encoder_keeps_in_eight_bits_is_a_warning(tmp_path: Path) -> None:
    path = odd_pictures.write(
        tmp_path / "a.mp4", (odd_pictures.as_hdr(odd_pictures.bars(), 16) for _ in range(6)), "libx265"
    )
    made = whole_clip(path, tmp_path, hdr="keep", encoder="libvpx-vp9")
    assert container.probe(made["uri"], Limits())["color_transfer"] == "smpte2084"
    assert (made["is_hdr"], made["picture_warning"]) == (True, "HDR kept at 8 bits")


def test_the_curve_keeps_dark_light_and_ends_at_the_white_of_sdr() -> None:
    nits = np.array([0.0, 1, 10, 30, 100, 203, 400, 1000])
    mapped = compress(nits, 1000.0)
    assert mapped[:4] == pytest.approx(nits[:4], abs=0.05)
    assert (np.diff(mapped) > 0).all()
    assert mapped[-1] == pytest.approx(WHITE_NITS, rel=0.001)
    # Of a master no brighter than SDR, nothing.
    assert compress(nits, WHITE_NITS)[:5] == pytest.approx(nits[:5], abs=0.05)


def test_transfers_are_those_of_the_standard() -> None:
    assert pq_signal(np.array([0.0, 100.0, 203.0, 1000.0, 10_000.0])) == pytest.approx(
        [0, 0.508, 0.581, 0.752, 1], abs=0.001
    )
    assert pq_nits(pq_signal(np.array([0.1, 26.0, 4000.0]))) == pytest.approx([0.1, 26, 4000], rel=1e-6)
    grey = hlg_nits(np.full((3, 3), [[0.38], [0.75], [1.0]]))[:, 0]
    assert grey == pytest.approx([26, 203, 1000], rel=0.03)  # ITU-R BT.2408-7, table 1


def test_a_copied_hdr_clip_is_looked_at_as_sdr(tmp_path: Path) -> None:
    picture = np.vstack([odd_pictures.bars(), draw(5, (448, 256))])
    sdr = odd_pictures.write(tmp_path / "sdr.mp4", iter([odd_pictures.as_frame(picture)] * 30))
    hdr = odd_pictures.write(tmp_path / "hdr.mp4", (odd_pictures.as_hdr(picture, 16) for _ in range(30)), "libx265")
    plain, copied = (signals_of(whole_clip(path, tmp_path, mode="copy"), tmp_path) for path in (sdr, hdr))
    assert bin(int(plain["phash"][0], 16) ^ int(copied["phash"][0], 16)).count("1") <= 4
    for uri in (tmp_path / "hdr.mp4", copied["proxy_uri"]):
        (picture,) = extract.single_frame(str(uri), "middle", extract.target_res(-1), Limits())[1]
        assert np.abs(odd_pictures.bar_colors(picture) - np.array(odd_pictures.BARS)).max() < 30
    assert (
        np.abs(odd_pictures.bar_colors(preview_picture(copied)) - odd_pictures.bar_colors(preview_picture(plain))).max()
        < 30
    )
    with av.open(copied["proxy_uri"]) as container:
        assert next(container.decode(video=0)).color_trc == 1
