"""Perceptual hashes are imagehash's own, evenly spaced, and equal for near-copies alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import imagehash
import numpy as np
import pytest
from PIL import Image

from tests.support import clips
from udfs.signals import phash

SIZE = (320, 240)
SCENES = [clips.texture(SIZE, seed, grain_px=40) for seed in range(8)]


def hashes(path: Path, num_frames: int = 4) -> list[str]:
    row = clips.observe(
        path, phash.Observer(phash.Params(num_frames=num_frames), clips.row(path), clips.env(path.parent))
    )
    return list(row["phash"])


def distance(a: str, b: str) -> int:
    """The number of bits in which two hashes differ."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def test_hashes_equal_imagehash_s_of_the_middle_frames(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "scenes.mp4", [scene for scene in SCENES for _ in range(5)], fps=10)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert hashes(path) == [str(imagehash.phash(Image.fromarray(frames[k]))) for k in (5, 15, 25, 35)]


@pytest.mark.parametrize("num_frames", [1, 3, 8])
def test_every_hash_is_sixteen_hex_digits(tmp_path: Path, num_frames: int) -> None:
    values = hashes(clips.write(tmp_path / "pan.mp4", clips.panned(SIZE, 20, 4)), num_frames)
    assert len(values) == num_frames
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in values)


def test_the_last_hash_shows_the_end_of_the_clip(tmp_path: Path) -> None:
    same, other = SCENES[0], SCENES[1]
    a = hashes(clips.write(tmp_path / "a.mp4", [same] * 40))
    b = hashes(clips.write(tmp_path / "b.mp4", [same] * 30 + [other] * 10))
    assert [distance(x, y) > 16 for x, y in zip(a, b, strict=True)] == [False, False, False, True]


def test_a_smaller_worse_copy_hashes_alike_and_another_scene_does_not(tmp_path: Path) -> None:
    good = clips.write(tmp_path / "good.mp4", [SCENES[2]] * 20, options={"crf": "15"})
    small = Image.fromarray(SCENES[2]).resize((176, 132))
    bad = clips.write(tmp_path / "bad.mp4", [np.asarray(small)] * 20, options={"crf": "35"})
    other = clips.write(tmp_path / "other.mp4", [SCENES[3]] * 20)
    assert max(distance(x, y) for x, y in zip(hashes(good), hashes(bad), strict=True)) <= 6
    assert min(distance(x, y) for x, y in zip(hashes(good), hashes(other), strict=True)) > 16


def test_frames_repeat_where_there_are_fewer_than_hashes(tmp_path: Path) -> None:
    values = hashes(clips.write(tmp_path / "two.mp4", SCENES[:2], fps=2), num_frames=8)
    assert [a != b for a, b in pairwise(values)] == [False, False, False, True, False, False, False]


def test_a_clip_that_ends_before_its_stated_end_repeats_its_last_frame(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "short.mp4", SCENES[:4], fps=4)
    observer = phash.Observer(phash.Params(), clips.row(path) | {"duration_s": 8.0}, clips.env(tmp_path))
    values = clips.observe(path, observer)["phash"]
    assert len(values) == 4
    assert len(set(values)) == 1
