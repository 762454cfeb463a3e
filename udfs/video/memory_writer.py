"""Encode frames to a video file in memory, each shown at its own time."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import cast

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.errors import MediaError


class MemoryWriter:
    """Encodes one video stream to bytes: no file is left if the clip proves damaged."""

    def __init__(self, codec: tuple[str, str], like: VideoFrame, time_base: Fraction, options: dict[str, str]) -> None:
        """The stream has the size, pixel format and color of the frame `like`.

        `codec` is the container and the codec, `time_base` the unit of times in s; `options` go to
        container and codec. No version or date is written: equal frames give equal bytes.
        """
        self.file = io.BytesIO()
        self.time_base = time_base
        self.out = av.open(self.file, "w", format=codec[0], container_options=options | {"fflags": "+bitexact"})
        self.stream = cast(VideoStream, self.out.add_stream(codec[1], options=options))
        self.stream.width, self.stream.height, self.stream.pix_fmt = like.width, like.height, like.format.name
        context = self.stream.codec_context
        context.time_base, context.thread_count = time_base, 1
        context.colorspace, context.color_range = like.colorspace, like.color_range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        self.last_packet: Packet[VideoStream] | None = None
        self.num_frames = 0

    def add(self, at_s: float, frame: VideoFrame) -> None:
        """Encode a frame that is shown from `at_s` on.

        Raises:
            MediaError: UNSUPPORTED if the encoder refuses it.
        """
        frame.pts, frame.time_base = round(at_s / self.time_base), self.time_base
        frame.pict_type = 0  # else the encoder must use the type that the frame had in its clip
        self._encode(frame)
        self.num_frames += 1

    def close(self, end_s: float) -> bytes:
        """Finish the file and return it; its last frame is shown until `end_s`.

        Raises:
            MediaError: UNSUPPORTED if the encoder refuses the frames.
        """
        self._encode(None)
        if self.last_packet is not None and self.last_packet.pts is not None:
            self.last_packet.duration = max(1, round(end_s / self.time_base) - self.last_packet.pts)
            self.out.mux(self.last_packet)
        self.out.close()
        return self.file.getvalue()

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            packets = self.stream.encode(frame)
        except av.error.FFmpegError as e:
            raise MediaError("UNSUPPORTED", f"{self.stream.codec_context.name} refuses the frame: {e.strerror}") from e
        for packet in packets:
            if self.last_packet is not None:
                self.out.mux(self.last_packet)
            self.last_packet = packet
