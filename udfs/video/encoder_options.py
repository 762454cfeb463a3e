"""The settings of an encoder -> its options in FFmpeg's words, or the program that has it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass as plain
from dataclasses import field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import RunError

ENCODERS = "libx264, libvpx-vp9, libsvtav1"  # what the av wheel brings for any machine
NVENC = "h264_nvenc"
NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7")
NVENC_MAX_CQ = 51


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """How a clip is encoded; part of [clip]."""

    encoder: Annotated[
        Literal["libx264", "h264_nvenc", "libvpx-vp9", "libsvtav1", "libopenh264"],
        Field(description="libopenh264 runs in an ffmpeg program that has it"),
    ] = "libx264"
    preset: Annotated[str, Field(description="empty: veryfast (x264), p4 (nvenc), 4 (vp9), 8 (av1)")] = ""
    crf: Annotated[
        int | None, Field(ge=0, le=63, description="constant quality; if not given 20 (x264), 21 (nvenc), 31 (vp9), 30 (av1)")
    ] = None
    encoder_threads: Annotated[int, Field(ge=1, le=64, description="threads a clip; tasks are the better parallelism")] = 1
    ffmpeg: Annotated[str, Field(description="the ffmpeg program for libopenh264; empty: the one on PATH")] = ""
    fallback: Annotated[
        Literal["libx264", ""], Field(description="what encodes where h264_nvenc does not work; empty: the task fails")
    ] = "libx264"
    deinterlace: Annotated[
        Literal["auto", "off"], Field(description="auto: frames that are flagged as interlaced become progressive, by bwdif")
    ] = "auto"
    hdr: Annotated[
        Literal["tonemap", "keep"],
        Field(description="tonemap: HDR (PQ, HLG) becomes SDR; keep: in 10 bits, where the encoder can"),
    ] = "tonemap"

    def __post_init__(self) -> None:
        # Nothing but a worker may have the card, and what its encoder refuses there would look like no card.
        if self.encoder == NVENC and self.preset not in ("", *NVENC_PRESETS):
            raise ValueError(f"preset {self.preset}: {NVENC} knows {', '.join(NVENC_PRESETS)}")
        if self.encoder == NVENC and (self.crf or 0) > NVENC_MAX_CQ:
            raise ValueError(f"crf {self.crf}: {NVENC} goes to {NVENC_MAX_CQ}")


@plain(frozen=True)
class Kind:
    """What an encoder calls its preset and its constant quality, their usual values, and what else it is told."""

    preset: tuple[str, str] = ("preset", "")
    quality: tuple[str, int] = ("crf", 0)
    always: dict[str, str] = field(default_factory=dict)
    with_quality: dict[str, str] = field(default_factory=dict)


KINDS = {
    "libx264": Kind(("preset", "veryfast"), ("crf", 20)),
    "h264_nvenc": Kind(
        ("preset", "p4"),
        ("cq", 21),
        {"rc": "vbr", "tune": "hq", "b_ref_mode": "middle", "temporal-aq": "1", "spatial-aq": "1", "rc-lookahead": "20"},
    ),
    "libvpx-vp9": Kind(
        ("cpu-used", "4"), ("crf", 31), {"deadline": "good", "row-mt": "1", "tile-columns": "2"}, with_quality={"b": "0"}
    ),
    "libsvtav1": Kind(("preset", "8"), ("crf", 30)),
    "libopenh264": Kind(quality=("qmin", 22), with_quality={"rc_mode": "quality"}),
}


DEEP = {"libx264", "libsvtav1"}  # encoders of 10 bits per component; libvpx of the av wheel has only 8


class EncoderError(RunError):
    """An encoder that does not work on this machine; its text is one line that says what to do."""


def fallback(params: Params) -> Params:
    """The same for the encoder that takes over, if one may: the preset was the other one's, the quality is on the same scale."""
    return replace(params, encoder=params.fallback or params.encoder, preset="")


def options(params: Params, bit_rate_k: int | None, gpu: int = 0) -> dict[str, str]:
    """The encoder's own options: for a bit rate (kbit a second) if there is one, else for constant quality."""
    kind = KINDS[params.encoder]
    given = dict(kind.always)
    if params.encoder == NVENC:
        given["gpu"] = str(gpu)
    if preset := params.preset or kind.preset[1]:
        given[kind.preset[0]] = preset
    if params.encoder == "libx264":
        given |= _steady()
    if params.encoder == "libsvtav1":
        given["svtav1-params"] = f"lp={params.encoder_threads}"  # it does not look at the thread count
    if bit_rate_k:
        return given | {"b": f"{bit_rate_k}k"}
    quality = str(kind.quality[1] if params.crf is None else params.crf)
    given |= {kind.quality[0]: quality} | kind.with_quality
    return given | ({"qmax": quality} if params.encoder == "libopenh264" else {})


@lru_cache(maxsize=1)
def _steady() -> dict[str, str]:
    # With AVX-512, x264 (av 18.1's, on an AMD EPYC) gave other bytes in up to 4 of 10 runs over drawn pictures, in none of 30
    # over real footage; without, in none of 400. That costs 10 % of its speed. Every processor that has AVX-512 has these.
    try:
        has_avx512 = "avx512" in Path("/proc/cpuinfo").read_text(encoding="ascii")
    except OSError:
        has_avx512 = False
    return {"x264-params": "asm=avx2,fma3,bmi2,lzcnt"} if has_avx512 else {}


def program(params: Params) -> str:
    """The ffmpeg program that has libopenh264.

    Raises:
        EncoderError: there is no program, or it lacks the encoder.
    """
    name = params.ffmpeg or "ffmpeg"
    found = shutil.which(name)
    if found is None:
        raise EncoderError(f"libopenh264 needs an ffmpeg program, and there is no {name}: set clip.ffmpeg or use {ENCODERS}")
    listed = subprocess.run([found, "-hide_banner", "-encoders"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if " libopenh264 " not in listed.stdout:
        raise EncoderError(f"{found} was built without libopenh264: set clip.ffmpeg to one that has it or use {ENCODERS}")
    return found


def convert(source: str, target: str, params: Params, bit_rate_k: int | None, ticks_hz: int) -> None:
    """Encode a lossless mp4 anew with the external program; `ticks_hz` is the resolution of its times, which are kept.

    Raises:
        EncoderError: the program fails.
    """
    command = [program(params), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "mp4", "-i", source]
    command += ["-c:v", params.encoder, "-threads", str(params.encoder_threads), "-pix_fmt", "yuv420p"]
    command += [part for name, value in options(params, bit_rate_k).items() for part in (f"-{name}:v", value)]
    command += ["-vsync", "passthrough", "-enc_time_base", "-1", "-video_track_timescale", str(ticks_hz)]
    done = subprocess.run([*command, "-fflags", "+bitexact", "-f", "mp4", target], capture_output=True, text=True)
    if done.returncode:
        raise EncoderError(f"{command[0]} failed with {params.encoder}: {done.stderr.strip()[-300:]}")
