"""The settings of encoders as FFmpeg's options, and encoding by an external ffmpeg program."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass as plain
from dataclasses import field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core import jail
from udfs.core.errors import RunError
from udfs.core.heartbeat import beat

WHEEL_ENCODERS = "libx264, libvpx-vp9, libsvtav1"  # those of the av wheel, which work on any machine
NVENC = "h264_nvenc"
NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7")
OPENH264 = "libopenh264"
H264_MAX_QP = 51
_OPENH264_ADVICE = f"pip install 'reelmill[openh264]' on every host, set clip.ffmpeg, or use {WHEEL_ENCODERS}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """How a clip is encoded; part of [clip]."""

    encoder: Annotated[
        Literal["libx264", "h264_nvenc", "libvpx-vp9", "libsvtav1", "libopenh264"],
        Field(description="libopenh264 needs the extra openh264, or an ffmpeg program with it"),
    ] = "libx264"
    preset: Annotated[str, Field(description="empty: veryfast (x264), p4 (nvenc), 4 (vp9), 8 (av1)")] = ""
    crf: Annotated[
        int | None,
        Field(ge=0, le=63, description="quality; by default 20 (x264), 21 (nvenc), 22 (openh264), 31 (vp9), 30 (av1)"),
    ] = None
    encoder_threads: Annotated[int, Field(ge=1, le=64, description="threads per clip; more tasks use cores better")] = 1
    ffmpeg: Annotated[str, Field(description="the program for libopenh264; empty: that on PATH, or of the extra")] = ""
    fallback: Annotated[
        Literal["libx264", ""], Field(description="the encoder where h264_nvenc does not work; empty: the task fails")
    ] = "libx264"
    deinterlace: Annotated[
        Literal["auto", "off"], Field(description="auto: bwdif makes frames progressive that are flagged as interlaced")
    ] = "auto"
    hdr: Annotated[
        Literal["tonemap", "keep"],
        Field(description="tonemap: HDR (PQ, HLG) becomes SDR; keep: it stays, in 10 bits if the encoder has them"),
    ] = "tonemap"

    def __post_init__(self) -> None:
        # Checked here because on a worker a refused value would look like a missing GPU.
        if self.encoder == NVENC and self.preset not in ("", *NVENC_PRESETS):
            raise ValueError(f"preset {self.preset}: {NVENC} has {', '.join(NVENC_PRESETS)}")
        if self.encoder == OPENH264 and self.preset:
            raise ValueError(f"preset {self.preset}: {OPENH264} has none")
        if self.encoder in (NVENC, OPENH264) and (self.crf or 0) > H264_MAX_QP:
            raise ValueError(f"crf {self.crf}: {self.encoder} allows at most {H264_MAX_QP}")


@plain(frozen=True)
class OptionNames:
    """An encoder's names and defaults for preset and constant quality, and further options."""

    preset: tuple[str, str] = ("preset", "")  # name, default
    quality: tuple[str, int] = ("crf", 0)
    always: dict[str, str] = field(default_factory=dict)
    with_quality: dict[str, str] = field(default_factory=dict)  # only without a bit rate
    with_bit_rate: dict[str, str] = field(default_factory=dict)


OPTION_NAMES = {
    "libx264": OptionNames(("preset", "veryfast"), ("crf", 20)),
    "h264_nvenc": OptionNames(
        ("preset", "p4"),
        ("cq", 21),
        {
            "rc": "vbr",
            "tune": "hq",
            "b_ref_mode": "middle",
            "temporal-aq": "1",
            "spatial-aq": "1",
            "rc-lookahead": "20",
        },
    ),
    "libvpx-vp9": OptionNames(
        ("cpu-used", "4"),
        ("crf", 31),
        {"deadline": "good", "row-mt": "1", "tile-columns": "2"},
        with_quality={"b": "0"},
    ),
    "libsvtav1": OptionNames(("preset", "8"), ("crf", 30)),
    # Profile main has CABAC, which takes a quarter of the bytes off equal pictures.
    "libopenh264": OptionNames(
        quality=("qmin", 22),
        always={"profile": "main", "g": "250"},
        with_quality={"rc_mode": "quality"},
        with_bit_rate={"rc_mode": "bitrate"},
    ),
}
TEN_BIT_ENCODERS = {"libx264", "libsvtav1"}  # can encode 10 bits per component; libvpx of the av wheel has only 8


class EncoderError(RunError):
    """An encoder that does not work on this machine; its text is one line that says what to do."""


def fallback_params(params: Params) -> Params:
    """The params of the fallback encoder, at the same quality and its own preset.

    They are unchanged if there is no fallback.
    """
    return replace(params, encoder=params.fallback or params.encoder, preset="")


def options(params: Params, bit_rate_k: int | None, gpu: int = 0) -> dict[str, str]:
    """The encoder's FFmpeg options, for a bit rate (kbit/s) or else for constant quality."""
    names = OPTION_NAMES[params.encoder]
    values = dict(names.always)
    if params.encoder == NVENC:
        values["gpu"] = str(gpu)
    if preset := params.preset or names.preset[1]:
        values[names.preset[0]] = preset
    if params.encoder == "libx264":
        values |= reproducible_x264()
    if params.encoder == "libsvtav1":
        values["svtav1-params"] = f"lp={params.encoder_threads}"  # it ignores FFmpeg's thread count
    if bit_rate_k:
        return values | names.with_bit_rate | {"b": f"{bit_rate_k}k"}
    quality = str(names.quality[1] if params.crf is None else params.crf)
    values |= {names.quality[0]: quality} | names.with_quality
    return values | ({"qmax": quality} if params.encoder == OPENH264 else {})


@lru_cache(maxsize=1)
def reproducible_x264() -> dict[str, str]:
    """The options that make x264 give equal bytes in every run."""
    # With AVX-512, x264 (of av 18.1, on an AMD EPYC) gave other bytes in up to 4 of 10 runs over
    # drawn pictures, and in none of 30 over real footage; without it, in none of 400. Its mbtree reads
    # memory that nothing was written to: glibc's MALLOC_PERTURB_ shows it at once, and with mbtree = 0
    # or rc-lookahead = 0, as the proxies have it, the bytes are equal. The options cost 10 % of its
    # speed. Every processor with AVX-512 has the instructions named here.
    try:
        has_avx512 = "avx512" in Path("/proc/cpuinfo").read_text(encoding="ascii")
    except OSError:
        has_avx512 = False
    return {"x264-params": "asm=avx2,fma3,bmi2,lzcnt"} if has_avx512 else {}


def program(params: Params) -> str:
    """The path of the program that the encoder is, with links followed; empty for one of the av wheel.

    Raises:
        EncoderError: there is no such program.
    """
    return str(Path(ffmpeg_program(params)).resolve()) if params.encoder == OPENH264 else ""


def ffmpeg_program(params: Params) -> str:
    """The path of an ffmpeg program that has libopenh264.

    It is the one that the settings name, else the one on PATH, else the one of imageio-ffmpeg.

    Raises:
        EncoderError: there is no such program.
    """
    if params.ffmpeg and shutil.which(params.ffmpeg) is None:
        raise EncoderError(f"there is no {params.ffmpeg}: {_OPENH264_ADVICE}")
    named = [params.ffmpeg] if params.ffmpeg else ["ffmpeg", _packaged_program()]
    paths = [path for name in named if (path := shutil.which(name))]
    for path in paths:
        if _has_openh264(path):
            return path
    without = f"{' and '.join(paths)} without it" if paths else "there is none"
    raise EncoderError(f"libopenh264 needs an ffmpeg program that was built with it ({without}): {_OPENH264_ADVICE}")


@lru_cache(maxsize=1)
def _packaged_program() -> str:
    """The ffmpeg program that the wheel of imageio-ffmpeg holds; empty without that package."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: a package without a program
        return ""


@lru_cache
def _has_openh264(path: str) -> bool:
    command = [path, "-hide_banner", "-encoders"]
    listing = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return " libopenh264 " in listing.stdout


def encode_file(source: str, target: str, params: Params, bit_rate_k: int | None, ticks_hz: int) -> None:
    """Encode a lossless mp4 with the external program; `ticks_hz` is the resolution of its times.

    Raises:
        EncoderError: the program fails.
    """
    program, timing = ffmpeg_program(params), ["-fps_mode", "passthrough", "-enc_time_base", f"1/{ticks_hz}"]
    command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-progress", "pipe:1"]
    command += ["-f", "mp4", "-i", source, "-c:v", params.encoder, "-pix_fmt", "yuv420p"]
    command += ["-threads", str(params.encoder_threads)]
    command += [part for name, value in options(params, bit_rate_k).items() for part in (f"-{name}:v", value)]
    command += [*timing, "-video_track_timescale", str(ticks_hz), "-fflags", "+bitexact", "-f", "mp4", target]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=jail.end_with_parent,  # or it would outlive a decoding process that is killed
        ) as process,
    ):
        assert process.stdout is not None
        last = b""
        for line in process.stdout:  # twice per second, also of a program that hangs
            if line.startswith(b"frame=") and line != last:
                beat()
                last = line
        if process.wait():
            errors.seek(0)
            raise EncoderError(f"{program} failed with {params.encoder}: {errors.read().strip()[-300:]}")
