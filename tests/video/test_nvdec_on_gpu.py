"""NVENC and NVDEC on a GPU (`pytest -m gpu`); imports no Spark, so that `make gpu-kit` can carry it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.support import clips
from tests.support.clip_units import only_clip, unit
from tests.support.footage import numbers, write_numbered
from tests.support.frame_reads import READS, outcome
from tests.support.gpu_codecs import NVENC, analyzed, nvdec_works, nvenc_works
from tests.support.odd_inputs import ODD
from udfs import clip
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import Env
from udfs.storage import access
from udfs.video import container, decode, mp4_writer, nvdec

with_nvenc = pytest.mark.skipif(not nvenc_works(), reason="no NVENC on this machine")
with_nvdec = pytest.mark.skipif(not nvdec_works(), reason="no NVDEC on this machine")

pytestmark = pytest.mark.usefixtures("untried")


@pytest.mark.gpu
@with_nvenc
def test_nvenc_cuts_the_asked_frames(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 90), (15, 75)), env, encoder="h264_nvenc", fallback="")
    assert (made["encoder"], made["video_codec"], made["exact"]) == ("h264_nvenc", "h264", True)
    assert (numbers(made["uri"]), made["num_frames"], made["duration_s"]) == (
        list(range(15, 75)),
        60,
        pytest.approx(2.0),
    )


@pytest.mark.gpu
@with_nvenc
def test_nvenc_keeps_a_quality_and_not_a_rate(tmp_path: Path) -> None:
    calm = [clips.plain((320, 240), 90)] * 60
    busy = list(np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), dtype=np.uint8))
    sizes = {
        (name, crf): encoded(tmp_path / f"{name}{crf}.mp4", found, crf)
        for name, found in (("calm", calm), ("busy", busy))
        for crf in (18, 40)
    }
    assert sizes["busy", 18] > 1.5 * sizes["busy", 40]
    assert sizes["busy", 18] > 10 * sizes["calm", 18]  # at a bit rate they would be alike


def encoded(path: Path, pictures: list[NDArray[np.uint8]], crf: int) -> int:
    frames = [VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    writer = mp4_writer.Writer(str(path), dataclasses.replace(NVENC, crf=crf), frames[0], Fraction(30))
    for k, frame in enumerate(frames):
        writer.add(k / 30, frame)
    writer.close(len(frames) / 30)
    return path.stat().st_size


@pytest.mark.gpu
@with_nvenc
def test_ten_bits_become_eight(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 30, codec="libx265", pix_fmt="yuv420p10le")
    made = only_clip(unit(path, (0, 30)), env, encoder="h264_nvenc", fallback="")
    with av.open(made["uri"]) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.gpu
@with_nvenc
def test_what_is_too_wide_for_nvenc_is_encoded_by_libx264(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 10, size=(4400, 160))
    made = only_clip(unit(path, (0, 10)), env, encoder="h264_nvenc")
    assert (made["encoder"], made["num_frames"]) == ("libx264", 10)


@pytest.mark.gpu
@with_nvdec
@pytest.mark.parametrize(("size", "options"), [((320, 240), {}), ((322, 182), {"x264-params": "bframes=3:ref=4"})])
def test_nvdec_decodes_to_the_bit(tmp_path: Path, size: tuple[int, int], options: dict[str, str]) -> None:
    path = str(write_numbered(tmp_path / "a.mp4", 90, size=size, options=options, gop=30))
    accel = nvdec.accelerator(0)
    with container.open_video(path, Limits()) as here, container.open_video(path, Limits(), accel) as there:
        both = list(zip(decode.frames(here, 0.4, 2.5), decode.frames(there, 0.4, 2.5), strict=True))
    assert {frame.format.name for _, (_, frame) in both} == {"nv12"}
    assert [at_s for (at_s, _), _ in both] == [at_s for _, (at_s, _) in both]
    assert all(np.array_equal(a.to_ndarray(), b.reformat(format="yuv420p").to_ndarray()) for (_, a), (_, b) in both)


@pytest.mark.gpu
@with_nvdec
def test_clips_are_the_same_with_nvdec(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=30), (7, 40), (31, 89))
    asked, plain = (clip.cut_unit(row, clip.Params(hwaccel=hwaccel), env) for hwaccel in ("cuda", "none"))
    assert asked == plain


@pytest.mark.gpu
@with_nvdec
def test_damage_fails_the_same_clips_with_nvdec_or_none(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mkv", 120, gop=15)
    row = unit(path, (0, 30), (30, 60), (105, 120))
    with path.open("r+b") as f:
        f.truncate(path.stat().st_size * 6 // 10)
    row["source_version"] = access.version(str(path))
    asked, plain = (clip.cut_unit(row, clip.Params(hwaccel=hwaccel), env) for hwaccel in ("cuda", "none"))
    assert asked == plain


@pytest.mark.gpu
@with_nvdec
def test_signals_with_nvdec_are_those_of_pictures(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60)
    asked, plain = analyzed(path, env, "cuda"), analyzed(path, env, "none")
    assert (asked["motion_source"], plain["motion_source"]) == ("frames", "vectors")
    differ = {name for name in plain if asked[name] != plain[name]}
    assert differ <= {"motion_source", "motion_score_global_mean", "motion_score_per_patch_min_256"}


@pytest.mark.gpu
@with_nvdec
def test_a_hidden_left_edge_is_left_to_software(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 30, options={"x264-params": "crop-rect=16,8,0,0"})
    with (
        pytest.raises(MediaError, match="UNSUPPORTED"),
        container.open_video(str(path), Limits(), nvdec.accelerator(0)) as video,
    ):
        list(decode.frames(video))
    row = unit(path, (0, 30))
    asked, plain = (only_clip(row, env, hwaccel=hwaccel) for hwaccel in ("cuda", "none"))
    assert asked == plain


@pytest.mark.gpu
@with_nvdec
def test_a_codec_that_nvdec_lacks_is_decoded_in_software(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mkv", 30, codec="ffv1", pix_fmt="yuv422p10le")
    assert numbers(only_clip(unit(path, (3, 30)), env, hwaccel="cuda")["uri"]) == list(range(3, 30))


@pytest.mark.gpu
@with_nvdec
@pytest.mark.parametrize("name", ODD)
def test_stages_read_the_same_frames_with_nvdec(tmp_path: Path, name: str) -> None:
    path = ODD[name](tmp_path)
    asked, plain = ([outcome(stage, path, hwaccel, tmp_path) for stage in READS] for hwaccel in ("cuda", "none"))
    assert asked == plain


@pytest.mark.gpu
@with_nvdec
def test_the_childs_limit_leaves_room_for_cuda() -> None:
    assert sandbox.call(nvdec_works, **sandbox.bounds(Limits().with_cuda()), needs=sandbox.Needs(gpu=True))
