"""Motion scores equal a slow dense computation, rise with speed, and agree between sources."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.support import clips
from tests.support.footage import write_numbered
from udfs.runtime.context import Row
from udfs.signals import motion

SIZE = (320, 264)
B_FRAMES = {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none"}


def scores(path: Path, **params: object) -> Row:
    return clips.observe(path, motion.Observer(motion.Params(**params), clips.row(path), clips.env(path.parent)))  # type: ignore[arg-type]


class DenseObserver:
    """Paints every vector pixel by pixel onto a full-size picture of the flow, in order."""

    def __init__(self) -> None:
        self.lengths: list[NDArray[np.float64]] = []
        self.two_way = 0

    def see(self, at_s: float, frame: VideoFrame) -> None:
        vectors = frame.side_data.get("MOTION_VECTORS")
        if vectors is None:
            return
        painted = np.zeros((frame.height, frame.width, 2))
        for v in vectors.to_ndarray():
            w, h = int(v["w"]), int(v["h"])
            x, y = int(v["dst_x"]) - w // 2, int(v["dst_y"]) - h // 2
            motion_px = np.array([v["motion_x"], v["motion_y"]]) / v["motion_scale"]
            painted[max(y, 0) : y + h, max(x, 0) : x + w] = motion_px
            self.two_way += v["source"] > 0
        self.lengths.append(np.linalg.norm(painted, axis=2) / (frame.width + frame.height))

    def result(self) -> Row:
        mean = np.mean(self.lengths, axis=0)
        height, width = mean.shape
        xs, ys = ([*range(0, 256 * max(1, round(side / 256)), 256), side] for side in (width, height))
        patches = [mean[a:b, c:d].mean() for a, b in pairwise(ys) for c, d in pairwise(xs)]
        return {"global": mean.mean(), "least": min(patches), "patches": len(patches)}


@pytest.mark.parametrize(("size", "patches"), [((320, 264), 1), ((650, 390), 6), ((332, 262), 1), ((100, 60), 1)])
def test_scores_of_p_frames_equal_a_dense_flow(tmp_path: Path, size: tuple[int, int], patches: int) -> None:
    path = clips.write(tmp_path / "pan.mp4", clips.panned(size, 10, 5), options=B_FRAMES)
    slow = clips.observe(path, DenseObserver())
    fast = scores(path, fps=30)
    assert slow["patches"] == patches
    assert fast["motion_score_global_mean"] == pytest.approx(slow["global"], rel=1e-6)
    assert fast["motion_score_per_patch_min_256"] == pytest.approx(slow["least"], rel=1e-6)


def test_scores_of_b_frames_equal_a_dense_flow(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "box.mp4", 20, size=(640, 480))
    dense = DenseObserver()
    slow = clips.observe(path, dense)
    fast = scores(path, fps=30)
    assert dense.two_way > 0
    assert 0 < fast["motion_score_per_patch_min_256"] < fast["motion_score_global_mean"]
    assert fast["motion_score_global_mean"] == pytest.approx(slow["global"], rel=1e-6)
    assert fast["motion_score_per_patch_min_256"] == pytest.approx(slow["least"], rel=1e-6)


@pytest.mark.parametrize(("codec", "source"), [("libx264", "vectors"), ("mpeg4", "vectors"), ("libx265", "frames")])
def test_a_pan_scores_its_own_speed(tmp_path: Path, codec: str, source: str) -> None:
    options = {"x264-params": "bframes=0:ref=1"} if codec == "libx264" else {}
    path = clips.write(tmp_path / "pan.mp4", clips.panned(SIZE, 12, 4), codec=codec, options=options)
    row = scores(path, fps=30)
    assert row["motion_source"] == source
    assert row["motion_score_global_mean"] * sum(SIZE) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("codec", ["libx265", "libvpx-vp9", "libsvtav1"])
def test_without_vectors_the_score_rises_with_speed(tmp_path: Path, codec: str) -> None:
    speeds = [0, 1, 3, 6]
    paths = [clips.write(tmp_path / f"{px}.mp4", clips.panned(SIZE, 8, px), codec=codec) for px in speeds]
    measured_px = [scores(path)["motion_score_global_mean"] * sum(SIZE) for path in paths]
    assert measured_px == sorted(measured_px)
    assert measured_px[0] < 0.05
    assert measured_px[1:] == pytest.approx(speeds[1:], rel=0.25)


@pytest.mark.parametrize("size", [(1000, 30), (30, 1000), (2, 2), (64, 16), (4000, 48)])
def test_pictures_of_any_shape_give_a_finite_score(tmp_path: Path, size: tuple[int, int]) -> None:
    path = clips.write(tmp_path / "thin.avi", clips.panned(size, 6, 2), codec="ffv1")
    row = scores(path, fps=10)
    assert row["motion_source"] == "frames"
    assert 0 <= row["motion_score_global_mean"] < 1


def test_a_rotated_clip_without_vectors_has_a_score(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "phone.mp4", 8, codec="libx265", rotation=90)
    assert scores(path)["motion_score_global_mean"] > 0


def test_a_still_scene_scores_nothing(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "still.mp4", [clips.texture(SIZE)] * 30)
    assert scores(path)["motion_score_global_mean"] < 1e-5


def test_motion_in_the_second_half_counts(tmp_path: Path) -> None:
    still, moving = [clips.texture(SIZE)] * 60, clips.panned(SIZE, 30, 6)
    late = scores(clips.write(tmp_path / "late.mp4", still + moving, fps=10), fps=2)
    assert late["motion_score_global_mean"] * sum(SIZE) > 1
    assert scores(tmp_path / "late.mp4", parity=True)["motion_score_global_mean"] < late["motion_score_global_mean"]


def test_the_least_patch_is_the_still_side(tmp_path: Path) -> None:
    still = clips.texture((256, 256))
    path = clips.write(
        tmp_path / "half.mp4", [np.hstack([still, moving]) for moving in clips.panned((256, 256), 10, 5)]
    )
    row = scores(path, fps=30)
    assert row["motion_score_per_patch_min_256"] < 0.1 * row["motion_score_global_mean"]


def test_a_clip_of_key_frames_is_scored_by_optical_flow(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "intra.mp4", clips.panned(SIZE, 8, 4), options={"g": "1"})
    row = scores(path)
    assert row["motion_source"] == "frames"
    assert row["motion_score_global_mean"] * sum(SIZE) == pytest.approx(4, rel=0.2)


def test_key_frames_on_the_sampled_times_do_not_hide_the_motion(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "gop.mp4", clips.panned(SIZE, 30, 4), options={"g": "15"})
    assert scores(path, fps=2)["motion_source"] == "vectors"


def test_a_clip_of_one_frame_is_too_short(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "one.mp4", [clips.texture(SIZE)])
    assert scores(path) == {
        "motion_score_global_mean": None,
        "motion_score_per_patch_min_256": None,
        "motion_source": "too_short",
    }


def test_parity_refuses_what_nemo_curator_refuses(tmp_path: Path) -> None:
    small = clips.write(tmp_path / "small.mp4", clips.panned((320, 240), 8, 2))
    assert scores(small, parity=True)["motion_source"] == "too_small"
    hevc = clips.write(tmp_path / "hevc.mp4", clips.panned(SIZE, 8, 2), codec="libx265")
    assert scores(hevc, parity=True)["motion_source"] == "no_vectors"


def test_parity_takes_every_nth_frame_up_to_a_count(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "pan.mp4", clips.panned(SIZE, 45, 2), fps=2)
    observer = motion.Observer(motion.Params(fps=1, parity=True), clips.row(path), clips.env(tmp_path))
    clips.observe(path, observer)
    assert observer.vectors.count == 11  # 22 whole seconds, half of them, one frame a second; frame 0 has no vectors
