"""Encode frames to a silent mp4 file, with the encoder that the settings name."""

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
from udfs.video.ffmpeg_log import captured_errors, last_message
from udfs.video.normalize import Normalizer
from udfs.video.picture import SQUARE, bit_depth, is_hdr

log = logging.getLogger("reelmill")

GRID_S = 0.0015  # a time this close to a multiple of the frame duration was rounded to ms by its container
MIN_TICKS_HZ = 10_000  # the least resolution of the times in the file
MIN_LAST_FRAME_S = 0.25  # the last frame is shown for at least this, or for its frame duration if that is shorter
HDR_AT_8_BITS = "HDR kept at 8 bits"
LOSSLESS = {"preset": "ultrafast", "qp": "0"}


def create_mp4(path: str) -> OutputContainer:
    """Open an mp4 for writing, with its index in front.

    It has no creation time or version: equal input gives equal bytes.
    """
    return av.open(path, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"})


class Writer:
    """Encodes a silent mp4 of the first frame's size and color, whose times begin at 0."""

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

        Raises:
            FFmpegError, ValueError: the encoder does not open.
            MediaError: UNSUPPORTED for a picture that cannot be converted.
        """
        self.path, self.params, self.bit_rate_k, self.gpu = path, params, bit_rate_k, gpu
        self.deinterlacer = Deinterlacer[tuple[float, Fraction | None]](enabled=params.deinterlace == "auto")
        self.normalizer, self.loses_depth = self._normalizer(first, aspect)
        rate = timeline.exact_rate(float(framerate))
        self.step = -(-MIN_TICKS_HZ // rate.numerator) * rate.denominator  # ticks from frame to frame
        self.time_base = 1 / (rate * self.step)
        self.out = create_mp4(self._encoding_path)
        self.pending: tuple[int, VideoFrame] | None = None  # the last frame, until the next one decides on its duration
        self.last_packet: Packet[VideoStream] | None = None
        self.first_s, self.first_dts = 0.0, 0
        self.num_frames = 0
        self.durations: dict[int, int] = {}  # of the frames in the encoder, by their times: the encoder drops them
        try:
            self.stream = self._add_stream(self.normalizer(first), rate)
        except BaseException:
            self.abandon()
            raise

    def add(self, at_s: float, frame: VideoFrame, aspect: Fraction | None = None) -> None:
        """Encode a frame that is shown from `at_s` on; times must rise.

        `aspect` is its sample aspect ratio; None: that of the first frame.

        Raises:
            FFmpegError: the encoder refuses it.
            MediaError: UNSUPPORTED for a picture that cannot be converted.
        """
        if self.num_frames == 0:
            self.first_s = at_s
        self.num_frames += 1
        for (shown_s, own_aspect), progressive in self.deinterlacer.push((at_s, aspect), frame):
            self._encode_pending(shown_s, self.normalizer(progressive, own_aspect))

    def close(self, end_s: float) -> None:
        """Finish the file; the last frame is shown until `end_s`.

        Raises:
            EncoderError: the external program fails.
            FFmpegError, MediaError: as in `add`.
        """
        for (shown_s, aspect), progressive in self.deinterlacer.flush():
            self._encode_pending(shown_s, self.normalizer(progressive, aspect))
        if self.pending is not None:
            least = min(self.step, round(MIN_LAST_FRAME_S / self.time_base))
            end = max(self.pending[0] + least, self._tick(end_s - self.first_s))
            self._encode(*self.pending, end)
            self._mux(self.stream.encode(None))
            if self.last_packet is not None and self.last_packet.dts is not None:
                # The muxer adds up decoding times, which end early with uneven times and B-frames.
                self.last_packet.duration = max(1, end - (self.last_packet.dts - self.first_dts))
                self.out.mux(self.last_packet)
        self.abandon()
        if self._is_external:
            encoder_options.encode_file(
                self._encoding_path, self.path, self.params, self.bit_rate_k, round(1 / self.time_base)
            )
            os.unlink(self._encoding_path)

    def abandon(self) -> None:
        """Close the file, whatever it holds."""
        self.pending = self.last_packet = None
        self.out.close()

    def picture_facts(self) -> dict[str, Any]:
        """The columns of `clips` that are known after encoding: `is_hdr` and `picture_warning`."""
        warnings = [*([HDR_AT_8_BITS] if self.loses_depth else []), *self.normalizer.warnings]
        return {"is_hdr": self.normalizer.is_hdr, "picture_warning": "; ".join(warnings) or None}

    def _normalizer(self, first: VideoFrame, aspect: Fraction) -> tuple[Normalizer, bool]:
        """The normalizer of frames, and whether it reduces HDR that is kept to 8 bits."""
        keeps_hdr = self.params.hdr == "keep"
        is_deep = keeps_hdr and is_hdr(first) and bit_depth(first) > 8
        has_ten_bits = self.params.encoder in encoder_options.TEN_BIT_ENCODERS
        pixel_format = "yuv420p10le" if is_deep and has_ten_bits else "yuv420p"
        return Normalizer(first, aspect, keep_hdr=keeps_hdr, pixel_format=pixel_format), is_deep and not has_ten_bits

    def _encode_pending(self, at_s: float, frame: VideoFrame) -> None:
        """Encode the pending frame, whose duration is known now, and make this one pending."""
        tick = self._tick(at_s - self.first_s)
        if self.pending is not None:
            tick = max(tick, self.pending[0] + 1)
            self._encode(*self.pending, tick)
        self.pending = tick, frame

    @property
    def _is_external(self) -> bool:
        return self.params.encoder == encoder_options.OPENH264

    @property
    def _encoding_path(self) -> str:
        return f"{self.path}.lossless" if self._is_external else self.path

    def _add_stream(self, like: VideoFrame, rate: Fraction) -> VideoStream:
        options = LOSSLESS if self._is_external else encoder_options.options(self.params, self.bit_rate_k, self.gpu)
        name = "libx264" if self._is_external else self.params.encoder
        stream = self.out.add_stream(name, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = like.width, like.height, like.format.name
        context = stream.codec_context
        context.time_base, context.thread_count = self.time_base, self.params.encoder_threads
        context.colorspace, context.color_range = like.colorspace, like.color_range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        if self.normalizer.aspect != SQUARE:
            context.sample_aspect_ratio = self.normalizer.aspect
        self.out.start_encoding()  # opens the encoder
        return stream

    def _tick(self, after_s: float) -> int:
        """A time in ticks; a multiple of the frame duration if its container had rounded it."""
        exact = after_s / float(self.time_base)
        nearest = round(exact / self.step) * self.step
        return nearest if abs(exact - nearest) * float(self.time_base) <= GRID_S else round(exact)

    def _encode(self, tick: int, frame: VideoFrame, until: int) -> None:
        beat()
        frame.pts, frame.time_base, frame.duration = tick, self.time_base, until - tick
        self.durations[tick] = until - tick
        self._mux(self.stream.encode(frame))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self.durations.pop(packet.pts or 0, packet.duration or 0)
            if self.last_packet is None:
                self.first_dts = packet.dts or 0
            else:
                self.out.mux(self.last_packet)
            self.last_packet = packet


@cache
def usable_params(params: Params, gpu: int) -> Params:
    """The params of an encoder that works in this process: NVENC, or else its fallback.

    NVENC is tried once per process.

    Raises:
        EncoderError: NVENC does not work, and the settings allow no fallback.
    """
    if params.encoder != encoder_options.NVENC:
        return params
    try:
        check_encoder(params, gpu)
    except EncoderError as e:
        if not params.fallback:
            raise
        log.warning("%s; %s is used instead", e, params.fallback)
        return encoder_options.fallback_params(params)
    return params


def check_encoder(params: Params, gpu: int = 0) -> None:
    """Check that an encoder works on this machine by encoding a few frames.

    Raises:
        EncoderError: it does not work.
    """
    frame = VideoFrame(256, 256, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    with tempfile.TemporaryDirectory() as folder, captured_errors() as logs:
        try:
            writer = Writer(f"{folder}/check.mp4", params, frame, Fraction(30), gpu=gpu)
            for k in range(3):
                writer.add(k / 30, frame)
            writer.close(0.1)
        except (av.error.FFmpegError, ValueError) as e:
            raise EncoderError(
                f"{params.encoder} does not work here ({last_message(logs, e)}): {_advice(params)}"
            ) from e


def _advice(params: Params) -> str:
    if params.encoder == encoder_options.NVENC:
        return "it needs a GPU with NVENC, which A100, H100 and H200 lack; clip.fallback = 'libx264' needs none"
    return f"check preset and crf, or use {encoder_options.WHEEL_ENCODERS}"
