"""Frames with the times they are shown at -> an encoded file in memory, whose last frame stays until the end."""

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


class Rendition:
    """One video stream that is being encoded; bytes rather than a file, since the clip may yet prove damaged."""

    def __init__(self, kind: tuple[str, str], like: VideoFrame, time_base: Fraction, options: dict[str, str]) -> None:
        """Of the size, pixel format and colour of the frame `like`.

        `kind` is the container and the codec, `time_base` the unit of its times in seconds; `options` go to both. No version or
        date is written: equal frames give equal bytes.
        """
        self.file = io.BytesIO()
        self.time_base = time_base
        self.out = av.open(self.file, "w", format=kind[0], container_options=options | {"fflags": "+bitexact"})
        self.stream = cast(VideoStream, self.out.add_stream(kind[1], options=options))
        self.stream.width, self.stream.height, self.stream.pix_fmt = like.width, like.height, like.format.name
        context = self.stream.codec_context
        context.time_base, context.thread_count = time_base, 1
        context.colorspace, context.color_range = like.colorspace, like.color_range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        self.last: Packet[VideoStream] | None = None
        self.count = 0

    def add(self, at_s: float, frame: VideoFrame) -> None:
        """Encode a frame that is shown from `at_s` on.

        Raises:
            MediaError: UNSUPPORTED if the encoder refuses it.
        """
        frame.pts, frame.time_base = round(at_s / self.time_base), self.time_base
        frame.pict_type = 0  # else the encoder is forced to the type the frame had in its clip
        self._encode(frame)
        self.count += 1

    def close(self, end_s: float) -> bytes:
        """The whole file; its last frame is shown until `end_s`.

        Raises:
            MediaError: UNSUPPORTED if the encoder refuses the frames.
        """
        self._encode(None)
        if self.last is not None and self.last.pts is not None:
            self.last.duration = max(1, round(end_s / self.time_base) - self.last.pts)
            self.out.mux(self.last)
        self.out.close()
        return self.file.getvalue()

    def _encode(self, frame: VideoFrame | None) -> None:
        try:
            packets = self.stream.encode(frame)
        except av.error.FFmpegError as e:
            raise MediaError("UNSUPPORTED", f"{self.stream.codec_context.name} refuses: {e.strerror}") from e
        for packet in packets:
            if self.last is not None:
                self.out.mux(self.last)
            self.last = packet
