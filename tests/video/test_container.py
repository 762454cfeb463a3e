"""Containers: what a probe reads from a file, and the limits it checks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.support import dolby_vision
from tests.support.footage import write_numbered
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.video import container

SMALL = (160, 120)


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(179, 6), Fraction(25, 2)])
def test_a_probe_reads_rate_count_and_length(tmp_path: Path, fps: Fraction) -> None:
    facts = container.probe(str(write_numbered(tmp_path / "v.mp4", 50, fps, SMALL)), Limits())
    assert (facts["framerate"], facts["num_frames"]) == (float(fps), 50)
    assert facts["duration_s"] == pytest.approx(50 / float(fps), abs=0.001)


def test_a_probe_describes_the_streams(tmp_path: Path) -> None:
    facts = container.probe(str(write_numbered(tmp_path / "v.mp4", 60, 30, SMALL, audio="aac")), Limits())
    told = {
        name: facts[name]
        for name in ("width", "height", "video_codec", "pixel_format", "audio_codec", "is_vfr", "rotation")
    }
    assert told == {
        "width": 160,
        "height": 120,
        "video_codec": "h264",
        "pixel_format": "yuv420p",
        "audio_codec": "aac",
        "is_vfr": False,
        "rotation": 0,
    }
    assert "mp4" in facts["container"]
    assert facts["bit_rate_k"] > 10


@pytest.mark.parametrize(
    "limits",
    [Limits(max_pixels=160 * 120 - 1), Limits(max_duration_s=0.9), Limits(max_frames=29)],
    ids=["pixels", "s", "frames"],
)
def test_what_is_over_a_limit_is_too_large(tmp_path: Path, limits: Limits) -> None:
    path = write_numbered(tmp_path / "v.mp4", 30, 30, SMALL)
    assert container.probe(str(path), Limits())["num_frames"] == 30
    with pytest.raises(MediaError, match="TOO_LARGE"):
        container.probe(str(path), limits)


def test_a_length_that_is_a_little_over_the_limit_is_told_from_it(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"TOO_LARGE: 1\.00 s of video, over 0\.99"):
        container.probe(str(write_numbered(tmp_path / "v.mp4", 30, 30, SMALL)), Limits(max_duration_s=0.99))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_colors_that_only_dolby_vision_knows_are_unsupported(tmp_path: Path, suffix: str) -> None:
    assert container.probe(str(dolby_vision.write(tmp_path / f"8.{suffix}", profile=8)), Limits())["num_frames"] == 30
    with pytest.raises(MediaError, match=r"UNSUPPORTED: Dolby Vision .* \(profile 5 or 10.0\)"):
        container.probe(str(dolby_vision.write(tmp_path / f"5.{suffix}", profile=5)), Limits())


def test_a_title_that_is_no_utf8_does_not_matter(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mkv", 30, 30, SMALL)
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xe9\xff\xfe\xe8"))
    assert container.probe(str(path), Limits())["num_frames"] == 30
