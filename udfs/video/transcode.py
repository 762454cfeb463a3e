"""An open video and some of its spans -> the picture of each span, encoded in one decoding pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av.error
from av.video.frame import VideoFrame

from udfs.core.errors import MediaError
from udfs.core.limits import Tally
from udfs.demux.demuxer import Video
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S
from udfs.video import decode, mp4_writer
from udfs.video.encoder_options import NVENC, EncoderError, Params, fallback
from udfs.video.picture import sample_aspect


@dataclass
class Take:
    """One span while frames go to it: what the decoder met in it, and its encoder."""

    span: dict[str, Any]
    path: str  # of its picture
    params: Params
    bit_rate_k: int | None = None
    gpu: int = 0
    tally: Tally = field(default_factory=Tally)
    writer: mp4_writer.Writer | None = None
    error: MediaError | None = None

    @property
    def begin_s(self) -> float:
        """When the span's first frame appears in the video, in s; before the span if that frame is held."""
        begin_s: float = self.span["start_s"] - (self.span.get("held_s") or 0.0)
        return begin_s

    def add(self, at_s: float, frame: VideoFrame, video: Video) -> None:
        """Take a frame; one that cannot be encoded fails this span alone."""
        at_s = max(at_s, self.span["start_s"]) if self.span.get("held_s") else at_s
        self.tally.frames += 1
        self.tally.corrupt += frame.is_corrupt
        if self.error is not None:
            return
        try:
            if self.writer is None:
                self.writer = self._opened(frame, video)
            self.writer.add(at_s, frame, sample_aspect(video.stream))
        except av.error.FFmpegError as e:
            self.error = self._refused(e)
        except MediaError as e:
            self.error = e

    def finish(self) -> float:
        """Finish the picture, and tell when its first frame is shown in the video.

        Raises:
            MediaError: the span has failed, or had no frame.
        """
        if self.error is not None or self.writer is None:
            self.abandon()
            raise self.error or MediaError("CORRUPT", "no frame could be decoded")
        try:
            self.writer.close(self.span["end_s"])
        except (av.error.FFmpegError, EncoderError) as e:
            raise self._refused(e) from e
        return self.writer.first_s

    def abandon(self) -> None:
        """Let go of the picture."""
        if self.writer is not None:
            self.writer.abandon()

    def _opened(self, frame: VideoFrame, video: Video) -> mp4_writer.Writer:
        try:
            return self._writer(frame, video)
        except av.error.FFmpegError:
            if self.params.encoder != NVENC or not self.params.fallback:
                raise
        # NVENC takes no side over 4096 or under some 150 pixels, and of some cards only so many clips at once.
        self.params = fallback(self.params)
        return self._writer(frame, video)

    def _writer(self, frame: VideoFrame, video: Video) -> mp4_writer.Writer:
        aspect = sample_aspect(video.stream)
        return mp4_writer.Writer(self.path, self.params, frame, video.framerate, self.bit_rate_k, self.gpu, aspect)

    def _refused(self, error: av.error.FFmpegError | EncoderError) -> MediaError:
        if isinstance(error, OSError | MemoryError):  # a full disk is not the picture's fault
            raise error
        mp4_writer.check_encoder(self.params, self.gpu)  # loud, if the encoder refuses everything
        return MediaError("UNSUPPORTED", f"{self.params.encoder} refuses the frames: {getattr(error, 'strerror', error)}")


def taken(takes: list[Take], video: Video) -> Iterator[Take]:
    """Decode once and give each frame to all spans that it belongs to; a span comes out when its last frame has come.

    The takes must be sorted by the start of their span; spans may overlap.
    """
    waiting, rolling = takes[::-1], list[Take]()
    errors = video.tally.errors
    start_s, end_s = min(take.begin_s for take in takes), max(take.span["end_s"] for take in takes)
    try:
        for at_s, frame in decode.frames(video, start_s, end_s):
            reached_s = at_s + BOUNDARY_TOLERANCE_S
            while waiting and waiting[-1].begin_s <= reached_s:
                rolling.append(waiting.pop())
            _blame(rolling, video.tally.errors - errors)
            errors = video.tally.errors
            over = [take for take in rolling if take.span["end_s"] <= reached_s]
            rolling = [take for take in rolling if take.span["end_s"] > reached_s]
            yield from over
            for take in rolling:
                take.add(at_s, frame, video)
    except MediaError as e:  # the decoder gave up: what is over by then is good
        for take in (*rolling, *waiting):
            take.error = take.error or e
    _blame(rolling, video.tally.errors - errors)
    yield from (*rolling, *waiting[::-1])


def _blame(takes: list[Take], errors: int) -> None:
    """Packets that were refused count for every span that was open then."""
    for take in takes:
        take.tally.errors += errors
