"""Frames with the times they are shown at -> a silent mp4 file, by the encoder that the settings name."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass as plain
from dataclasses import field
from fractions import Fraction
from typing import Annotated, Literal, cast

import av
import av.error
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.upright import Upright

ENCODERS = "libx264, libvpx-vp9, libsvtav1"  # what the av wheel brings for any machine
GRID_S = 0.0015  # a time this close to a multiple of the frame's duration was rounded to ms by its container
MIN_TICKS_HZ = 10_000  # resolution of the times in the file, at least
LOSSLESS = {"preset": "ultrafast", "qp": "0"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """How a clip is encoded; part of [clip]."""

    encoder: Annotated[
        Literal["libx264", "h264_nvenc", "libvpx-vp9", "libsvtav1", "libopenh264"],
        Field(description="libopenh264 runs in an ffmpeg program that has it"),
    ] = "libx264"
    preset: Annotated[str, Field(description="the encoder's own name of one (libvpx-vp9: cpu-used); empty: see encode.KINDS")] = ""
    crf: Annotated[int | None, Field(ge=0, le=63, description="constant quality on the encoder's own scale; none: its usual")] = None
    encoder_threads: Annotated[int, Field(ge=1, le=64, description="threads a clip; tasks are the better parallelism")] = 1
    ffmpeg: Annotated[str, Field(description="the ffmpeg program for libopenh264; empty: the one on PATH")] = ""


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


class EncoderError(Exception):
    """An encoder that does not work on this machine; its text is one line that says what to do."""


def options(params: Params, bit_rate_k: int | None) -> dict[str, str]:
    """The encoder's own options: for a bit rate (kbit a second) if there is one, else for constant quality."""
    kind = KINDS[params.encoder]
    given = dict(kind.always)
    if preset := params.preset or kind.preset[1]:
        given[kind.preset[0]] = preset
    if params.encoder == "libsvtav1":
        given["svtav1-params"] = f"lp={params.encoder_threads}"  # it does not look at the thread count
    if bit_rate_k:
        return given | {"b": f"{bit_rate_k}k"}
    quality = str(kind.quality[1] if params.crf is None else params.crf)
    given |= {kind.quality[0]: quality} | kind.with_quality
    return given | ({"qmax": quality} if params.encoder == "libopenh264" else {})


def create(path: str) -> OutputContainer:
    """An mp4 to write: moov in front, no creation time or version, so that equal input gives equal bytes."""
    return av.open(path, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"})


class Writer:
    """A silent mp4 that is being encoded, of the first frame's size and colour; its times begin at 0."""

    def __init__(self, path: str, params: Params, first: VideoFrame, framerate: Fraction, bit_rate_k: int | None = None) -> None:
        """Raises FFmpegError or ValueError if the encoder does not open."""
        self.path, self.params, self.bit_rate_k = path, params, bit_rate_k
        self.upright = Upright(first)
        rate = framerate.limit_denominator(1001)
        self.step = -(-MIN_TICKS_HZ // rate.numerator) * rate.denominator  # ticks from frame to frame
        self.time_base = 1 / (rate * self.step)
        self.out = create(self._aside)
        try:
            self.stream = self._stream(self.upright(first), rate)
        except BaseException:
            self.abandon()
            raise
        self.held: tuple[int, VideoFrame] | None = None  # the last frame: how long it is shown, the next one tells
        self.first_s = 0.0
        self.num_frames = 0

    def add(self, at_s: float, frame: VideoFrame) -> None:
        """Encode a frame that is shown from `at_s` on; times must rise.

        Raises:
            FFmpegError: the encoder refuses it.
        """
        if self.num_frames == 0:
            self.first_s = at_s
        tick = self._tick(at_s - self.first_s)
        if self.held is not None:
            tick = max(tick, self.held[0] + 1)
            self._encode(*self.held, tick)
        self.held = tick, self.upright(frame)
        self.num_frames += 1

    def close(self, end_s: float) -> None:
        """Finish the file; the last frame is shown until `end_s`, and for at least one frame's duration."""
        if self.held is not None:
            self._encode(*self.held, max(self.held[0] + self.step, self._tick(end_s - self.first_s)))
        self.held = None
        self.out.mux(self.stream.encode(None))
        self.out.close()
        if self._is_external:
            _convert(self._aside, self.path, self.params, self.bit_rate_k, round(1 / self.time_base))
            os.unlink(self._aside)

    def abandon(self) -> None:
        """Let go of the file, whatever it holds."""
        self.held = None
        self.out.close()

    @property
    def _is_external(self) -> bool:
        return self.params.encoder == "libopenh264"

    @property
    def _aside(self) -> str:
        return f"{self.path}.lossless" if self._is_external else self.path

    def _stream(self, like: VideoFrame, rate: Fraction) -> VideoStream:
        given = LOSSLESS if self._is_external else options(self.params, self.bit_rate_k)
        name = "libx264" if self._is_external else self.params.encoder
        stream = cast(VideoStream, self.out.add_stream(name, rate=rate, options=given))
        stream.width, stream.height, stream.pix_fmt = like.width, like.height, like.format.name
        context = stream.codec_context
        context.time_base, context.thread_count = self.time_base, self.params.encoder_threads
        context.colorspace, context.color_range = like.colorspace, like.color_range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        self.out.start_encoding()  # opens the encoder
        return stream

    def _tick(self, after_s: float) -> int:
        """A time in ticks, on the grid of the frame rate where the container only rounded it off."""
        exact = after_s / float(self.time_base)
        nearest = round(exact / self.step) * self.step
        return nearest if abs(exact - nearest) * float(self.time_base) <= GRID_S else round(exact)

    def _encode(self, tick: int, frame: VideoFrame, until: int) -> None:
        frame.pts, frame.time_base, frame.duration = tick, self.time_base, until - tick
        for packet in self.stream.encode(frame):
            self.out.mux(packet)


def check_encoder(params: Params) -> None:
    """Encode a few frames: only that tells whether an encoder works here, its name in a list does not.

    Raises:
        EncoderError: it does not.
    """
    frame = VideoFrame(256, 256, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    with tempfile.TemporaryDirectory() as folder, av.logging.Capture() as logs:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.ERROR)
        try:
            writer = Writer(f"{folder}/check.mp4", params, frame, Fraction(30))
            for k in range(3):
                writer.add(k / 30, frame)
            writer.close(0.1)
        except (av.error.FFmpegError, ValueError) as e:
            said = "; ".join(str(text).strip() for _, _, text in logs) or str(e)
            raise EncoderError(f"{params.encoder} does not work here ({said}): check preset and crf, or use {ENCODERS}") from e
        finally:
            av.logging.set_level(level)


def program(params: Params) -> str:
    """The ffmpeg program that has libopenh264.

    Raises:
        EncoderError: there is no program, or it lacks the encoder.
    """
    name = params.ffmpeg or "ffmpeg"
    found = shutil.which(name)
    if found is None:
        raise EncoderError(f"libopenh264 needs an ffmpeg program that has it, and there is no {name}: set clip.ffmpeg or use {ENCODERS}")
    listed = subprocess.run([found, "-hide_banner", "-encoders"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if " libopenh264 " not in listed.stdout:
        raise EncoderError(f"{found} was built without libopenh264: set clip.ffmpeg to one that has it or use {ENCODERS}")
    return found


def _convert(source: str, target: str, params: Params, bit_rate_k: int | None, ticks_hz: int) -> None:
    given = [part for name, value in options(params, bit_rate_k).items() for part in (f"-{name}:v", value)]
    command = [program(params), *"-hide_banner -loglevel error -nostdin -y -f mp4 -i".split(), source, "-c:v", params.encoder]
    command += [*given, "-threads", str(params.encoder_threads), "-pix_fmt", "yuv420p", "-vsync", "passthrough"]
    command += ["-enc_time_base", "-1", "-video_track_timescale", str(ticks_hz), "-fflags", "+bitexact", "-f", "mp4", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EncoderError(f"{command[0]} failed with {params.encoder}: {done.stderr.strip()[-300:]}")
