"""Proxies hold the right frames at their own times: small, cheap to decode, in true colors."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from tests.support import clips
from tests.support.footage import numbers, read_number, write_numbered
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.signals import proxy

TYPES = {1: "I", 2: "P", 3: "B"}


def proxy_path(path: Path, **params: float) -> str:
    """The path of a clip's proxy."""
    observer = proxy.Observer(proxy.Params(**params), clips.row(path), clips.env(path.parent))  # type: ignore[arg-type]
    return str(clips.observe(path, observer)["proxy_uri"])


def times(path: str) -> list[float]:
    with av.open(path) as container:
        return [frame.time for frame in container.decode(video=0)]


def test_a_proxy_holds_the_first_frame_of_each_quarter_second(tmp_path: Path) -> None:
    small = proxy_path(write_numbered(tmp_path / "n.mp4", 45))
    assert numbers(small) == [0, 8, 15, 23, 30, 38]
    assert times(small) == pytest.approx([k / 30 for k in (0, 8, 15, 23, 30, 38)], abs=1e-4)


def test_a_slower_clip_keeps_all_its_frames(tmp_path: Path) -> None:
    assert numbers(proxy_path(write_numbered(tmp_path / "slow.mp4", 6, fps=3))) == list(range(6))


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.9, 1.0, 1.04, 2.3]
    small = proxy_path(write_numbered(tmp_path / "vfr.mp4", times_s=times_s))
    assert numbers(small) == [0, 2, 3, 5]
    assert times(small) == pytest.approx([0.0, 0.9, 1.0, 2.3], abs=1e-3)


@pytest.mark.parametrize(("num_frames", "fps"), [(45, 30), (47, Fraction(30000, 1001)), (31, 24)])
def test_a_proxy_lasts_as_long_as_the_clip(tmp_path: Path, num_frames: int, fps: int | Fraction) -> None:
    path = write_numbered(tmp_path / "n.mp4", num_frames, fps=fps)
    assert clips.row(Path(proxy_path(path)))["duration_s"] == pytest.approx(num_frames / float(fps), abs=1e-3)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1280, 720), (512, 288)), ((320, 240), (320, 240)), ((270, 600), (230, 512)), ((322, 182), (322, 182))],
)
def test_the_longer_side_is_bounded_and_nothing_is_scaled_up(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    facts = clips.row(Path(proxy_path(write_numbered(tmp_path / "n.mp4", 8, size=size))))
    assert (facts["width"], facts["height"]) == expected


def test_key_frames_come_often_and_there_are_no_b_frames(tmp_path: Path) -> None:
    small = proxy_path(write_numbered(tmp_path / "n.mp4", 60, gop=60), fps=10.0, gop=5)
    with av.open(small) as container:
        types = "".join(TYPES[frame.pict_type] for frame in container.decode(video=0))
    assert types == "IPPPP" * 4


def test_the_key_frames_of_the_clip_are_not_those_of_its_proxy(tmp_path: Path) -> None:
    small = proxy_path(write_numbered(tmp_path / "intra.mp4", 60, gop=1), fps=10.0, gop=10)
    with av.open(small) as container:
        assert sum(frame.key_frame for frame in container.decode(video=0)) == 2


def test_a_rotated_clip_has_a_rotated_proxy(tmp_path: Path) -> None:
    small = proxy_path(write_numbered(tmp_path / "phone.mp4", 8, size=(320, 240), rotation=90))
    assert numbers(small) == [0]
    _, pictures = extract.evenly_spaced_frames(small, 1, extract.exact_size(240, 320), Limits())
    assert read_number(pictures[0]) == 0


@pytest.mark.parametrize("space", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("full_range", [False, True])
def test_the_colors_of_a_proxy_are_those_of_the_clip(tmp_path: Path, space: Colorspace, full_range: bool) -> None:
    tags = {"colorspace": "bt709" if space == Colorspace.ITU709 else "smpte170m"}
    path = write_numbered(tmp_path / "n.mp4", 4, fps=4, size=(640, 480), full_range=full_range, options=tags)
    small = proxy_path(path, crf=10)
    (_, theirs), (_, ours) = (
        extract.evenly_spaced_frames(str(p), 1, extract.exact_size(64, 48), Limits()) for p in (path, small)
    )
    assert np.abs(theirs[0].astype(int) - ours[0].astype(int)).mean() < 2


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "n.mp4", 30)
    first = Path(proxy_path(path)).read_bytes()
    assert Path(proxy_path(path)).read_bytes() == first


def test_the_name_of_a_proxy_is_made_of_the_clip_and_the_settings(tmp_path: Path) -> None:
    assert proxy_path(write_numbered(tmp_path / "n.mp4", 4)) == f"{tmp_path}/media/proxies/c1/c1ip-01234567.mp4"
