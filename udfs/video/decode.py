"""Decode the frames of an open video between two times, each with the time when it is shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.errors import MediaError
from udfs.demux.demuxer import Video, packets, packets_from, rewind, seek
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S

# How far before the start a seek aims, one attempt after the other: without an index (MPEG-TS, FLV)
# it may lead too far.
SEEK_BACK_S = (0.0, 2.0, 15.0, 60.0)


def frames(video: Video, start_s: float = 0.0, end_s: float = math.inf) -> Iterator[tuple[float, VideoFrame]]:
    """Decode the frames shown in [start_s, end_s), each with its time in s after the first one.

    Damaged packets are skipped and counted in `video.tally`. Times rise strictly: where the file's
    times are missing or jump back, a frame follows the one before by the frame rate.

    Raises:
        MediaError: CORRUPT on a GPU for the first damaged packet after a frame; OOM; UNSUPPORTED for
            an encrypted video.
    """
    step_s = float(1 / video.framerate)
    at_s = -math.inf
    for frame in _frames_from(video, start_s - step_s):
        at_s = _next_time_s(video.frame_time_s(frame), at_s, step_s)
        if at_s >= end_s - BOUNDARY_TOLERANCE_S:
            return
        if at_s >= start_s - BOUNDARY_TOLERANCE_S:
            if video.is_on_gpu:
                _check_gpu_frame(video, frame)
            video.tally.frames += 1
            video.tally.corrupt += frame.is_corrupt
            yield max(at_s, 0.0), frame


def _check_gpu_frame(video: Video, frame: VideoFrame) -> None:
    """Refuse a damaged frame, and one with a hidden left or upper edge, which FFmpeg does not cut off.

    Raises:
        MediaError: CORRUPT or UNSUPPORTED.
    """
    if frame.is_corrupt:
        raise MediaError("CORRUPT", "a damaged frame")
    context = video.stream.codec_context
    if (frame.width, frame.height) != (context.width, context.height):
        sizes = f"{frame.width}x{frame.height} with a visible part of {context.width}x{context.height}"
        raise MediaError("UNSUPPORTED", f"a frame of {sizes}")


def _next_time_s(stated_s: float | None, last_s: float, step_s: float) -> float:
    """A frame's time, later than the last one's; the stated time unless it jumps back."""
    if last_s == -math.inf:
        return stated_s or 0.0
    if stated_s is None or stated_s < last_s - 1.5 * step_s:
        return last_s + step_s
    return stated_s if stated_s > last_s else last_s + step_s / 8  # of two frames of one time, the next times are right


def _frames_from(video: Video, at_s: float) -> Iterator[VideoFrame]:
    """The frames from a key frame at or before a time, or from the first if no seek leads there."""
    if video.first_frame_s is not None:
        rewind(video)
    decoded, errors = _decoded_frames(video), video.tally.errors
    first = next(decoded, None)
    if first is None:
        return
    video.forget_refused(errors)  # what is refused before a file's first frame is damage of none
    if video.first_frame_s is None:  # not by the header, whose start may be of another stream
        video.first_frame_s = video.frame_time_s(first) or 0.0
    if at_s > 0 and video.timing.breaks:
        decoded = _decoded_frames(video, packets_from(video, at_s))
    elif at_s > 0:
        decoded = _frames_by_seek(video, at_s, chain([first], decoded))
    else:
        yield first
    yield from decoded


def _frames_by_seek(video: Video, at_s: float, from_first: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """The frames from one shown at or before a time on; `from_first` if the file allows no seek."""
    errors, has_moved, first = video.tally.errors, False, None
    for back_s in SEEK_BACK_S:
        if not seek(video, at_s - back_s):
            continue
        video.forget_refused(errors)
        has_moved, decoded = True, _decoded_frames(video)
        first = next(decoded, None)
        first_s = None if first is None else video.frame_time_s(first)
        if first is not None and first_s is not None and first_s <= at_s + BOUNDARY_TOLERANCE_S:
            return chain([first], decoded)
    if not has_moved:  # a seek that fails may have changed the position
        return _decoded_frames(video) if seek(video, 0.0) else from_first
    if first is None:
        return iter(())  # no frame in the minute before: the file ends earlier
    rewind(video)
    video.forget_refused(errors)
    return _decoded_frames(video)


def _decoded_frames(video: Video, demuxed: Iterator[Packet[VideoStream]] | None = None) -> Iterator[VideoFrame]:
    has_begun = False  # until then packets may be refused because a recording, or a seek, begins between key frames
    for packet in packets(video) if demuxed is None else demuxed:
        if packet.has_sidedata("encryption_info"):
            raise MediaError("UNSUPPORTED", "the video is encrypted")
        video.num_hidden_packets += packet.is_discard
        if packet.pts is not None and packet.size and not packet.is_discard:
            video.num_shown_packets += 1
            if video.shown_packets is not None:
                video.shown_packets.append((packet.pts, packet.duration or 0))
        try:
            for frame in packet.decode():
                has_begun = True
                yield frame
        except av.error.EOFError:
            return
        except av.error.MemoryError as e:
            raise MediaError("OOM", "the decoder ran out of memory") from e
        except av.error.FFmpegError as e:
            video.count_refused(packet)
            if video.is_on_gpu and has_begun:
                raise MediaError("CORRUPT", f"a packet could not be decoded: {e.strerror}") from e
