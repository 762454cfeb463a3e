"""Encode the spans of a video, each to a file of its own, in one decoding pass."""

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
from udfs.video.encoder_options import NVENC, EncoderError, Params, fallback_params
from udfs.video.picture import sample_aspect


@dataclass
class SpanEncoder:
    """Encodes the frames of one span, and counts what was decoded for it."""

    span: dict[str, Any]  # of table `spans`
    path: str  # of the silent mp4 that is written
    params: Params
    bit_rate_k: int | None = None
    gpu: int = 0
    tally: Tally = field(default_factory=Tally)
    writer: mp4_writer.Writer | None = None
    error: MediaError | None = None

    @property
    def begin_s(self) -> float:
        """When the span's first frame appears in the video, in s; possibly before the span."""
        begin_s: float = self.span["start_s"] - (self.span.get("held_s") or 0.0)
        return begin_s

    def add(self, at_s: float, frame: VideoFrame, video: Video) -> None:
        """Encode a frame that is shown from `at_s` on.

        A frame that cannot be encoded fails this span alone.
        """
        at_s = max(at_s, self.span["start_s"]) if self.span.get("held_s") else at_s
        self.tally.frames += 1
        self.tally.corrupt += frame.is_corrupt
        if self.error is not None:
            return
        try:
            if self.writer is None:
                self.writer = self._open_writer(frame, video)
            self.writer.add(at_s, frame, sample_aspect(video.stream))
        except av.error.FFmpegError as e:
            self.error = self._refusal(e)
        except MediaError as e:
            self.error = e

    def finish(self) -> float:
        """Finish the file; returns when its first frame is shown in the video, in s.

        Raises:
            MediaError: CORRUPT without a frame, else the error by which the span failed.
            EncoderError: the encoder works for no video.
        """
        if self.error is not None or self.writer is None:
            self.abandon()
            raise self.error or MediaError("CORRUPT", "no frame could be decoded")
        try:
            self.writer.close(self.span["end_s"])
        except (av.error.FFmpegError, EncoderError) as e:
            raise self._refusal(e) from e
        return self.writer.first_s

    def abandon(self) -> None:
        """Close the file, whatever it holds."""
        if self.writer is not None:
            self.writer.abandon()

    def _open_writer(self, frame: VideoFrame, video: Video) -> mp4_writer.Writer:
        """Open the encoder, or its fallback if NVENC does not open."""
        try:
            return self._new_writer(frame, video)
        except av.error.FFmpegError:
            if self.params.encoder != NVENC or not self.params.fallback:
                raise
        # NVENC refuses sides over 4096 and under some 150 pixels, and on some GPUs more than a few
        # clips at once.
        self.params = fallback_params(self.params)
        return self._new_writer(frame, video)

    def _new_writer(self, frame: VideoFrame, video: Video) -> mp4_writer.Writer:
        aspect = sample_aspect(video.stream)
        return mp4_writer.Writer(self.path, self.params, frame, video.framerate, self.bit_rate_k, self.gpu, aspect)

    def _refusal(self, error: av.error.FFmpegError | EncoderError) -> MediaError:
        """The error of a span that the encoder refuses.

        Raises:
            EncoderError: the encoder works for no video.
            OSError, MemoryError: the error is not the span's, as with a full disk.
        """
        if isinstance(error, OSError | MemoryError):
            raise error
        mp4_writer.check_encoder(self.params, self.gpu)
        return MediaError(
            "UNSUPPORTED", f"{self.params.encoder} refuses the frames: {getattr(error, 'strerror', error)}"
        )


def encode_spans(encoders: list[SpanEncoder], video: Video) -> Iterator[SpanEncoder]:
    """Decode once and encode each frame in all its spans; yields each span after its last frame.

    `encoders` must be sorted by the start of their span; spans may overlap.
    """
    waiting, active = encoders[::-1], list[SpanEncoder]()
    refused_s: list[float] = []
    video.refused_s, num_counted = refused_s, 0
    start_s, end_s = min(encoder.begin_s for encoder in encoders), max(encoder.span["end_s"] for encoder in encoders)
    try:
        for at_s, frame in decode.frames(video, start_s, end_s):
            reached_s = at_s + BOUNDARY_TOLERANCE_S
            while waiting and waiting[-1].begin_s <= reached_s:
                active.append(waiting.pop())
            _count_errors(active, refused_s[num_counted:], video.first_frame_s or 0.0)
            num_counted = len(refused_s)
            complete = [encoder for encoder in active if encoder.span["end_s"] <= reached_s]
            active = [encoder for encoder in active if encoder.span["end_s"] > reached_s]
            yield from complete
            for encoder in active:
                encoder.add(at_s, frame, video)
    except MediaError as e:  # the decoder gave up: spans that were complete by then are good
        for encoder in (*active, *waiting):
            encoder.error = encoder.error or e
    _count_errors(active, refused_s[num_counted:], video.first_frame_s or 0.0)
    yield from (*active, *waiting[::-1])


def _count_errors(encoders: list[SpanEncoder], refused_s: list[float], zero_s: float) -> None:
    """Count packets that the decoder refused for each span in which they would be shown, or may be (NaN).

    A decoder gives frames late: it may refuse packets of the next span before the last frames of one come out.
    """
    for at_s in refused_s:
        reached_s = at_s - zero_s + BOUNDARY_TOLERANCE_S
        for encoder in encoders:
            is_outside = reached_s < encoder.begin_s or reached_s >= encoder.span["end_s"]
            encoder.tally.errors += not is_outside
