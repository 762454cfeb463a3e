"""Frames with the times they are shown at -> a silent mp4 file, by the encoder that the settings name."""

from __future__ import annotations

import logging
import os
import tempfile
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.heartbeat import beat
from udfs.demux import timeline
from udfs.video import encoder_options
from udfs.video.deinterlace import Deinterlacer
from udfs.video.encoder_options import EncoderError as EncoderError
from udfs.video.encoder_options import Params
from udfs.video.ffmpeg_log import heard, last
from udfs.video.normalize import Upright
from udfs.video.picture import SQUARE, bit_depth, is_hdr

log = logging.getLogger("reelmill")

GRID_S = 0.0015  # a time this close to a multiple of the frame's duration was rounded to ms by its container
MIN_TICKS_HZ = 10_000  # resolution of the times in the file, at least
LAST_S = 0.25  # the least duration of a last frame whose own frame duration is longer
HDR_AT_8_BITS = "HDR kept at 8 bits"
LOSSLESS = {"preset": "ultrafast", "qp": "0"}


def create(path: str) -> OutputContainer:
    """An mp4 to write: moov in front, no creation time or version, so that equal input gives equal bytes."""
    return av.open(path, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"})


class Writer:
    """A silent mp4 that is being encoded, of the first frame's size and colour; its times begin at 0."""

    def __init__(
        self,
        path: str,
        params: Params,
        first: VideoFrame,
        framerate: Fraction,
        bit_rate_k: int | None = None,
        gpu: int = 0,
        aspect: Fraction = SQUARE,
    ) -> None:
        """`aspect` is the sample aspect ratio of the first frame.

        Raises FFmpegError or ValueError if the encoder does not open.
        """
        self.path, self.params, self.bit_rate_k, self.gpu = path, params, bit_rate_k, gpu
        self.deinterlacer = Deinterlacer[tuple[float, Fraction | None]](on=params.deinterlace == "auto")
        self.upright, self.loses_depth = self._upright(first, aspect)
        rate = timeline.exact_rate(float(framerate))
        self.step = -(-MIN_TICKS_HZ // rate.numerator) * rate.denominator  # ticks from frame to frame
        self.time_base = 1 / (rate * self.step)
        self.out = create(self._aside)
        self.held: tuple[int, VideoFrame] | None = None  # the last frame: how long it is shown, the next one tells
        self.last: Packet[VideoStream] | None = None
        self.first_s, self.first_dts = 0.0, 0
        self.num_frames = 0
        self.lengths: dict[int, int] = {}  # durations of the frames in the encoder, by their times: the encoder drops them
        try:
            self.stream = self._stream(self.upright(first), rate)
        except BaseException:
            self.abandon()
            raise

    def add(self, at_s: float, frame: VideoFrame, aspect: Fraction | None = None) -> None:
        """Encode a frame that is shown from `at_s` on; times must rise.

        `aspect` is its sample aspect ratio, None for the first frame's.

        Raises:
            FFmpegError: the encoder refuses it.
            MediaError: UNSUPPORTED for a picture that cannot be converted.
        """
        if self.num_frames == 0:
            self.first_s = at_s
        self.num_frames += 1
        for (shown_s, own_aspect), progressive in self.deinterlacer.push((at_s, aspect), frame):
            self._hold(shown_s, self.upright(progressive, own_aspect))

    def close(self, end_s: float) -> None:
        """Finish the file; the last frame is shown until `end_s`, and at least for a frame's duration or LAST_S.

        Raises what `add` does.
        """
        for (shown_s, aspect), progressive in self.deinterlacer.flush():
            self._hold(shown_s, self.upright(progressive, aspect))
        if self.held is not None:
            least = min(self.step, round(LAST_S / self.time_base))
            end = max(self.held[0] + least, self._tick(end_s - self.first_s))
            self._encode(*self.held, end)
            self._mux(self.stream.encode(None))
            if self.last is not None and self.last.dts is not None:
                # The muxer adds up decoding times; with uneven times and B-frames they end before the picture does.
                self.last.duration = max(1, end - (self.last.dts - self.first_dts))
                self.out.mux(self.last)
        self.abandon()
        if self._is_external:
            encoder_options.convert(self._aside, self.path, self.params, self.bit_rate_k, round(1 / self.time_base))
            os.unlink(self._aside)

    def abandon(self) -> None:
        """Let go of the file, whatever it holds."""
        self.held = self.last = None
        self.out.close()

    def picture_facts(self) -> dict[str, Any]:
        """The columns of `clips` that are known after encoding: `is_hdr` and `picture_warning`."""
        lost = [*([HDR_AT_8_BITS] if self.loses_depth else []), *self.upright.warnings]
        return {"is_hdr": self.upright.is_hdr, "picture_warning": "; ".join(lost) or None}

    def _upright(self, first: VideoFrame, aspect: Fraction) -> tuple[Upright, bool]:
        """The converter of frames, and whether it keeps HDR of more than 8 bits in 8."""
        keeps = self.params.hdr == "keep"
        deep = keeps and is_hdr(first) and bit_depth(first) > 8
        can = self.params.encoder in encoder_options.DEEP
        pixel_format = "yuv420p10le" if deep and can else "yuv420p"
        return Upright(first, aspect, keep_hdr=keeps, pixel_format=pixel_format), deep and not can

    def _hold(self, at_s: float, frame: VideoFrame) -> None:
        """Encode the frame before, whose end is known now, and keep this one until its end is known."""
        tick = self._tick(at_s - self.first_s)
        if self.held is not None:
            tick = max(tick, self.held[0] + 1)
            self._encode(*self.held, tick)
        self.held = tick, frame

    @property
    def _is_external(self) -> bool:
        return self.params.encoder == "libopenh264"

    @property
    def _aside(self) -> str:
        return f"{self.path}.lossless" if self._is_external else self.path

    def _stream(self, like: VideoFrame, rate: Fraction) -> VideoStream:
        given = LOSSLESS if self._is_external else encoder_options.options(self.params, self.bit_rate_k, self.gpu)
        name = "libx264" if self._is_external else self.params.encoder
        stream = self.out.add_stream(name, rate=rate, options=given)
        stream.width, stream.height, stream.pix_fmt = like.width, like.height, like.format.name
        context = stream.codec_context
        context.time_base, context.thread_count = self.time_base, self.params.encoder_threads
        context.colorspace, context.color_range = like.colorspace, like.color_range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        if self.upright.aspect != SQUARE:
            context.sample_aspect_ratio = self.upright.aspect
        self.out.start_encoding()  # opens the encoder
        return stream

    def _tick(self, after_s: float) -> int:
        """A time in ticks, on the grid of the frame rate where the container only rounded it off."""
        exact = after_s / float(self.time_base)
        nearest = round(exact / self.step) * self.step
        return nearest if abs(exact - nearest) * float(self.time_base) <= GRID_S else round(exact)

    def _encode(self, tick: int, frame: VideoFrame, until: int) -> None:
        beat()
        frame.pts, frame.time_base, frame.duration = tick, self.time_base, until - tick
        self.lengths[tick] = until - tick
        self._mux(self.stream.encode(frame))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self.lengths.pop(packet.pts or 0, packet.duration or 0)
            if self.last is None:
                self.first_dts = packet.dts or 0
            else:
                self.out.mux(self.last)
            self.last = packet


@cache
def usable(params: Params, gpu: int) -> Params:
    """The params of an encoder that works in this process: NVENC if it codes a frame, tried once, else what takes its place.

    Raises:
        EncoderError: it does not, and nothing may take its place.
    """
    if params.encoder != encoder_options.NVENC:
        return params
    try:
        check_encoder(params, gpu)
    except EncoderError as e:
        if not params.fallback:
            raise
        log.warning("%s; %s takes its place", e, params.fallback)
        return encoder_options.fallback(params)
    return params


def check_encoder(params: Params, gpu: int = 0) -> None:
    """Encode a few frames: only that tells whether an encoder works here, its name in a list does not.

    Raises:
        EncoderError: it does not.
    """
    frame = VideoFrame(256, 256, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    with tempfile.TemporaryDirectory() as folder, heard() as logs:
        try:
            writer = Writer(f"{folder}/check.mp4", params, frame, Fraction(30), gpu=gpu)
            for k in range(3):
                writer.add(k / 30, frame)
            writer.close(0.1)
        except (av.error.FFmpegError, ValueError) as e:
            raise EncoderError(f"{params.encoder} does not work here ({last(logs, e)}): {_advice(params)}") from e


def _advice(params: Params) -> str:
    if params.encoder == encoder_options.NVENC:
        return "it takes a GPU with NVENC, which A100, H100 and H200 lack; clip.fallback = 'libx264' does without"
    return f"check preset and crf, or use {encoder_options.ENCODERS}"
