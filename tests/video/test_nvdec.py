"""NVENC and NVDEC: what CPUs do in their place; what they do is in test_nvdec_on_gpu.py."""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import mmap
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from jobs import analyze as analyze_job
from jobs import clip as clip_job
from jobs.cli import main
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings, load
from jobs.lake.fingerprints import fingerprint
from tests.support.clip_units import only_clip, unit
from tests.support.footage import draw, numbers, write_numbered
from tests.support.gpu_codecs import NVENC, analyzed, nvdec_works, nvenc_works, watch_opening
from udfs import clip
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.core.task_resources import Resources
from udfs.frames import sampler
from udfs.runtime import sandbox
from udfs.runtime.context import Env
from udfs.shots import transnet_frames
from udfs.storage import access
from udfs.video import container, decode, encoder_options, mp4_writer, nvdec, rescale, transcode
from udfs.video.normalize import Normalizer

without_nvenc = pytest.mark.skipif(nvenc_works(), reason="this machine has NVENC")
without_nvdec = pytest.mark.skipif(nvdec_works(), reason="this machine has NVDEC")

pytestmark = pytest.mark.usefixtures("untried")


# The encoder


def library(name: str) -> ctypes.CDLL:
    """A library of FFmpeg's as PyAV has loaded it: OpenCV has its own."""
    loaded = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    return ctypes.CDLL(next(path for path in loaded if f"/av.libs/{name}" in path))


def refused(name: str, value: str) -> int:
    """What FFmpeg answers where an option of h264_nvenc is set to a value; 0 if it knows both."""
    avcodec, avutil = library("libavcodec"), library("libavutil")
    for function in (avcodec.avcodec_find_encoder_by_name, avcodec.avcodec_alloc_context3):
        function.restype = ctypes.c_void_p
    codec = avcodec.avcodec_find_encoder_by_name(b"h264_nvenc")
    context = ctypes.c_void_p(avcodec.avcodec_alloc_context3(ctypes.c_void_p(codec)))
    search_children = 1
    answer: int = avutil.av_opt_set(context, name.encode(), value.encode(), search_children)
    avcodec.avcodec_free_context(ctypes.byref(context))
    return answer


@pytest.mark.parametrize("bit_rate_k", [None, 900])
def test_nvenc_knows_every_option_and_its_value(bit_rate_k: int | None) -> None:
    given = encoder_options.options(NVENC, bit_rate_k, gpu=1)
    assert {name: refused(name, value) for name, value in given.items()} == dict.fromkeys(given, 0)
    assert [refused("preset", preset) for preset in encoder_options.NVENC_PRESETS] == [0] * 7
    assert refused("temporal-qa", "1") < 0
    assert refused("tune", "best") < 0
    assert refused("cq", str(encoder_options.H264_MAX_QP)) == 0
    assert refused("cq", str(encoder_options.H264_MAX_QP + 1)) < 0


def test_nvenc_gets_a_constant_quality_and_its_gpu() -> None:
    assert encoder_options.options(NVENC, None, gpu=2) == {
        "preset": "p4",
        "rc": "vbr",
        "cq": "21",
        "tune": "hq",
        "b_ref_mode": "middle",
        "temporal-aq": "1",
        "spatial-aq": "1",
        "rc-lookahead": "20",
        "gpu": "2",
    }
    assert encoder_options.options(dataclasses.replace(NVENC, crf=30), None)["cq"] == "30"
    assert "cq" not in encoder_options.options(NVENC, 900)
    assert "gpu" not in encoder_options.options(encoder_options.Params(), None, gpu=2)


@pytest.mark.parametrize("override", ["clip.preset=slow", "clip.crf=52"])
def test_what_nvenc_never_takes_is_no_reason_to_fall_back(override: str) -> None:
    with pytest.raises(SettingsError, match=r"^clip: (preset slow|crf 52): h264_nvenc .*"):
        load([], ["clip.encoder=h264_nvenc", override])
    assert load([], [override]).clip.encoder == "libx264"


@without_nvenc
def test_without_nvenc_libx264_cuts_and_warns_once(tmp_path: Path, env: Env, capfd: pytest.CaptureFixture[str]) -> None:
    row = unit(
        write_numbered(tmp_path / "a.mp4", 60, size=(160, 120)), (5, 25), (30, 50), fingerprint="f", duration_s=2.0
    )
    params = clip.Params(encoder="h264_nvenc", preset="p7")
    (made,) = clip.rows(iter([pd.DataFrame([row, row])]), params, env)
    assert made["encoder"].tolist() == ["libx264"] * 4
    assert made["exact"].tolist() == [True] * 4
    assert [numbers(uri) for uri in made["uri"][:2]] == [list(range(5, 25)), list(range(30, 50))]
    said = capfd.readouterr().err
    assert said.count("h264_nvenc does not work here (") == said.count("; libx264 is used instead\n") == 1


@without_nvenc
def test_what_takes_nvencs_place_encodes_as_it_always_does(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 30, size=(160, 120)), (0, 30))
    plain = only_clip(row, env, crf=24)
    assert only_clip(row, env, encoder="h264_nvenc", preset="p2", crf=24)["sha256"] == plain["sha256"]


@without_nvenc
def test_without_a_fallback_the_task_fails_in_one_line(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 30, size=(160, 120)), (0, 30), fingerprint="f", duration_s=1.0)
    with pytest.raises(
        mp4_writer.EncoderError, match=r"^h264_nvenc does not work here \(.+\): it needs a GPU"
    ) as raised:
        next(clip.rows(iter([pd.DataFrame([row])]), clip.Params(encoder="h264_nvenc", fallback=""), env))
    assert "\n" not in str(raised.value)


@without_nvenc
def test_a_clip_that_nvenc_does_not_open_is_encoded_all_the_same(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 20, size=(160, 120))
    take = transcode.SpanEncoder({"start_s": 0.0, "end_s": 20 / 30}, str(tmp_path / "made.mp4"), NVENC)
    with container.open_video(str(path), Limits()) as video:
        (done,) = transcode.encode_spans([take], video)
    assert done.finish() == 0
    assert (done.params.encoder, numbers(tmp_path / "made.mp4")) == ("libx264", list(range(20)))


def test_the_driver_needs_no_nvenc_but_what_takes_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    options = clip_job.Options(output="")
    for fallback in ("libx264", ""):
        clip_job.check(options, load([], ["clip.encoder=h264_nvenc", f"clip.fallback={fallback}"]))
    assert capsys.readouterr().err == ""
    broken = load([], ["clip.encoder=libx264", "clip.preset=p4"])
    with pytest.raises(SettingsError, match=r"^clip\.encoder: libx264 does not work here"):
        clip_job.check(options, broken)


# The decoder


@without_nvdec
def test_without_nvdec_software_decodes_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "reelmill"):
        assert [nvdec.accelerator(0), nvdec.accelerator(0)] == [None, None]
    assert [line[:32] for line in caplog.messages] == ["NVDEC does not decode on GPU 0 ("]
    assert caplog.messages[0].endswith("): videos are decoded in software")


def test_the_clip_that_nvdec_is_tried_with_is_one() -> None:
    context = av.CodecContext.create("h264", "r")
    frames = [frame for packet in [*nvdec._probe_packets(), None] for frame in context.decode(packet)]
    assert [(frame.width, frame.height, frame.format.name) for frame in frames] == [
        (256, 256, "yuv420p")
    ] * nvdec.PROBE_FRAMES


@without_nvdec
@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_clips_are_the_same_where_nvdec_does_not_work(tmp_path: Path, env: Env, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    row = unit(write_numbered(tmp_path / name, 60, size=(160, 120), codec=codec, audio="libopus"), (7, 22), (30, 59))
    asked, plain = (clip.cut_unit(row, clip.Params(hwaccel=hwaccel), env) for hwaccel in ("cuda", "none"))
    assert asked == plain
    assert [numbers(made["uri"]) for made in asked] == [list(range(7, 22)), list(range(30, 59))]


@without_nvdec
def test_signals_are_the_same_where_nvdec_does_not_work(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 60)
    asked = analyzed(path, env, "cuda")
    assert asked == analyzed(path, env, "none")
    assert asked["motion_source"] == "vectors"


@without_nvdec
def test_what_fails_on_a_card_is_decoded_again_in_software(
    tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_numbered(tmp_path / "a.mkv", 120, size=(160, 120), gop=15)
    row = unit(path, (0, 30), (30, 60), (45, 105))
    with path.open("r+b") as f:
        f.truncate(path.stat().st_size * 6 // 10)
    row["source_version"] = access.version(str(path))
    plain = clip.cut_unit(row, clip.Params(audio="drop"), env)
    opened = watch_opening(monkeypatch)
    asked = clip.cut_unit(row, clip.Params(hwaccel="cuda", audio="drop"), env)
    assert asked == plain
    assert [made.get("failed_code") for made in asked] == [None, None, "PARTIAL"]
    assert [on_card for name, on_card in opened if name == str(path)] == [True, False]
    with pytest.raises(MediaError, match="PARTIAL"):
        analyzed(path, env, "cuda", num_frames=120)
    # The first reads its facts.
    assert [on_card for name, on_card in opened if name == str(path)][2:] == [False, True, False]


@without_nvdec
def test_a_card_that_opens_nothing_costs_no_video(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 10, size=(160, 120))
    with container.open_video(str(path), Limits(), nvdec._hwaccel(0, or_software=True)) as video:
        assert len(list(decode.frames(video))) == 10
    path.write_bytes(path.read_bytes()[:100])
    with (
        pytest.raises(MediaError, match="CORRUPT"),
        container.open_video(str(path), Limits(), nvdec._hwaccel(0, or_software=True)),
    ):
        pass


@pytest.mark.parametrize("size", [(320, 240), (322, 182), (321, 241)])
@pytest.mark.parametrize(
    ("coded", "on_card", "apart"),
    [
        ("yuv420p", "nv12", 0),
        ("yuvj420p", "nv12", 0),
        ("yuv420p10le", "p010le", 1),
        ("yuv422p", "nv16", 0),
        ("yuv422p10le", "p210le", 1),
    ],
)
def test_the_layout_that_a_card_gives_frames_in_changes_no_picture(
    coded: str, on_card: str, apart: int, size: tuple[int, int]
) -> None:
    to = ColorRange.JPEG if coded.startswith("yuvj") else ColorRange.MPEG
    here = VideoFrame.from_ndarray(draw(5, size), format="rgb24").reformat(format=coded, dst_color_range=to)
    there = downloaded(here, on_card)
    assert apart_by(*(Normalizer(frame)(frame).to_ndarray() for frame in (here, there))) <= apart
    assert apart_by(*(sampler.luma(frame, rescale.Scaler()) for frame in (here, there))) == 0
    assert (
        apart_by(
            *(
                rescale.scaled_frame(frame, (160, 120), "yuv420p", rescale.Scaler()).to_ndarray()
                for frame in (here, there)
            )
        )
        == 0
    )
    for target in ((160, 120), (400, 300), size):  # smaller, larger, and as it is
        pictures = (
            rescale.upright_pixels(frame, target, rescale.Scaler()) for frame in (here, rescale.planar_frame(there))
        )
        assert apart_by(*pictures) == 0
    assert apart_by(*(transnet_frames._small_picture(frame, rescale.Scaler()) for frame in (here, there))) == 0


def downloaded(frame: VideoFrame, on_card: str) -> VideoFrame:
    """The samples of a frame in the layout of CUDA's frames.

    Luma comes first, then both chroma planes interleaved; ten bits lie in the upper end of 16.
    """
    luma, blue, red = (_samples(plane, "10le" in frame.format.name) for plane in frame.planes)
    chroma = np.stack([blue, red], axis=-1).reshape(blue.shape[0], -1)
    made = VideoFrame(frame.width, frame.height, on_card)
    for plane, values in zip(made.planes, (luma, chroma), strict=True):
        shifted = np.ascontiguousarray(values << (6 if on_card.endswith("10le") else 0)).view(np.uint8)
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : shifted.shape[1]] = shifted
        plane.update(padded.tobytes())
    made.color_range, made.colorspace = frame.color_range, frame.colorspace
    return made


def _samples(plane: VideoPlane, is_deep: bool) -> NDArray[Any]:
    """The samples of a plane without the padding of its rows."""
    rows: NDArray[Any] = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
    return (rows.view(np.uint16) if is_deep else rows)[:, : plane.width]


def apart_by(one: NDArray[Any], other: NDArray[Any]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# The stages


@pytest.mark.parametrize(
    ("overrides", "gpus"),
    [
        ([], 0),
        (["clip.resources.gpus=0.5"], 0),  # there is nothing to use it for
        (["clip.encoder=h264_nvenc"], 1 / 3),
        (["clip.encoder=h264_nvenc", "clip.resources.gpus=0.25"], 0.25),
        (["clip.encoder=h264_nvenc", "clip.mode=copy"], 0),
        (["clip.hwaccel=cuda"], 1 / 3),
    ],
)
def test_clip_takes_a_gpu_where_it_encodes_or_decodes_there(overrides: list[str], gpus: float) -> None:
    taken = clip_job.STAGE.resources(load([], [*overrides, "clip.resources.cpus=2"]))
    assert taken == Resources(cpus=2, gpus=gpus)
    assert taken.share == (round(1 / gpus) if gpus else 1)


@pytest.mark.parametrize(("hwaccel", "gpus"), [("none", 0), ("cuda", 1 / 3)])
def test_analyze_takes_a_gpu_where_it_decodes_there(hwaccel: str, gpus: float) -> None:
    assert analyze_job.STAGE.resources(load([], [f"analyze.hwaccel={hwaccel}"])).gpus == gpus


def test_what_may_change_rows_changes_the_fingerprint() -> None:
    def changed(stage: str, override: str) -> bool:
        return fingerprint(stage, load([], [override])) != fingerprint(stage, Settings())

    assert [changed("clip", f"clip.{s}") for s in ("hwaccel=cuda", "fallback=''", "encoder=h264_nvenc")] == [True] * 3
    assert changed("analyze", "analyze.hwaccel=cuda")
    assert not changed("clip", "clip.resources.gpus=0.25")
    assert not changed("analyze", "analyze.resources.cpus=2")
    assert not changed("embed", "analyze.hwaccel=cuda")
    assert not changed("clip", "limits.cuda_memory_mb=0")


def test_parity_with_nvdec_is_one_line_and_starts_no_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    overrides = ["--set", "analyze.hwaccel=cuda", "--set", "motion.parity=true"]
    assert main(["analyze", "--output", str(tmp_path), *overrides]) == 2
    assert capsys.readouterr().err.count("motion.parity: it scores motion vectors") == 1


def reserve(size_mb: int, access: int, how: int) -> int:
    with mmap.mmap(-1, size_mb << 20, flags=how | mmap.MAP_ANONYMOUS, prot=access) as area:
        return len(area) >> 20


@pytest.mark.parametrize(
    ("access", "how", "counts"),
    [
        (0, mmap.MAP_PRIVATE, False),  # how CUDA reserves addresses
        (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, False),  # and how it shares memory with its driver
        (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, True),
    ],
)
def test_the_childs_limit_counts_what_it_may_write_alone(access: int, how: int, counts: bool) -> None:
    def reserved(memory_mb: int) -> int:
        needs = sandbox.Needs(gpu=True)
        size: int = sandbox.call(reserve, 3000, access, how, timeout_s=30, memory_mb=memory_mb, needs=needs)
        return size

    assert reserved(4096) == 3000
    if counts:
        with pytest.raises((OSError, MediaError)):
            reserved(1024)
    else:
        assert reserved(1024) == 3000


def test_a_stage_on_a_gpu_has_more_memory(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 10, size=(96, 64)), (0, 10), fingerprint="f", duration_s=1.0)
    tight = dataclasses.replace(env, limits=Limits(memory_mb=256, cuda_memory_mb=2048))
    for params, memory_mb in ((clip.Params(hwaccel="cuda"), 2304), (clip.Params(), 256)):
        rows = clip.rows(iter([pd.DataFrame([row])]), params, tight)
        next(rows)
        assert sandbox._thread.child.kind.memory_mb == memory_mb
        assert next(rows, None) is None
        assert (sandbox._thread.child is None) == params.on_gpu  # it would hold memory of the card
