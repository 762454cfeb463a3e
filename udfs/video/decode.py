"""Decode the frames of an open video between two times, each with the time at which it is shown."""

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

MAX_ERRORS = 1000  # packets refused, before a file is given up
# How far before the wanted time a seek aims, one try after the other: without an index (MPEG-TS, FLV) it may land behind it.
SEEK_BACK_S = (0.0, 2.0, 15.0, 60.0)


def frames(video: Video, start_s: float = 0.0, end_s: float = math.inf) -> Iterator[tuple[float, VideoFrame]]:
    """Decode the frames shown in [start_s, end_s), each with its time in seconds after the first shown frame.

    Damaged packets are passed over and counted in `video.tally`. Times rise strictly: where the file's are missing or jump
    back, a frame follows the last one by the frame rate.
    """
    step = float(1 / video.framerate)
    last = -math.inf
    for frame in _decoded_from(video, start_s - step):
        last = at = _risen(video.frame_time_s(frame), last, step)
        if at >= end_s - BOUNDARY_TOLERANCE_S:
            return
        if at >= start_s - BOUNDARY_TOLERANCE_S:
            _check_cropping(video, frame)
            video.tally.frames += 1
            video.tally.corrupt += frame.is_corrupt
            yield max(at, 0.0), frame


def _check_cropping(video: Video, frame: VideoFrame) -> None:
    """FFmpeg cuts a hidden left or upper edge off its own frames, but not off a GPU's."""
    context = video.stream.codec_context
    if context.is_hwaccel and (frame.width, frame.height) != (context.width, context.height):
        raise MediaError("UNSUPPORTED", f"a frame of {frame.width}x{frame.height} that shows {context.width}x{context.height}")


def _risen(shown_s: float | None, last_s: float, step_s: float) -> float:
    if last_s == -math.inf:
        return shown_s or 0.0
    if shown_s is None or shown_s < last_s - 1.5 * step_s:
        return last_s + step_s
    return shown_s if shown_s > last_s else last_s + step_s / 8  # two frames of one time: the next ones are right again


def _decoded_from(video: Video, at_s: float) -> Iterator[VideoFrame]:
    """The frames from a key frame at or before a time, or from the first where no seek leads there."""
    if video.first_frame_s is not None:
        rewind(video)
    decoded = _decoded(video)
    first = next(decoded, None)
    if first is None:
        return
    if video.first_frame_s is None:  # the header's start is not asked: it may be of another stream
        video.first_frame_s = video.frame_time_s(first) or 0.0
    if at_s > 0 and video.timing.breaks:
        decoded = _decoded(video, packets_from(video, at_s))
    elif at_s > 0:
        decoded = _sought(video, at_s, chain([first], decoded))
    else:
        yield first
    yield from decoded


def _sought(video: Video, at_s: float, from_first: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """The frames from one shown no later than a time; `from_first` if the file knows no seek."""
    errors, moved, first = video.tally.errors, False, None
    for back_s in SEEK_BACK_S:
        if not seek(video, at_s - back_s):
            continue
        moved, video.tally.errors, decoded = True, errors, _decoded(video)
        first = next(decoded, None)
        shown_s = None if first is None else video.frame_time_s(first)
        if first is not None and shown_s is not None and shown_s <= at_s + BOUNDARY_TOLERANCE_S:
            return chain([first], decoded)
    if not moved:  # a seek that fails may have changed the position all the same
        return _decoded(video) if seek(video, 0.0) else from_first
    if first is None:
        return iter(())  # not a frame in the minute before: the file ends earlier
    rewind(video)
    video.tally.errors = errors
    return _decoded(video)


def _decoded(video: Video, found: Iterator[Packet[VideoStream]] | None = None) -> Iterator[VideoFrame]:
    for packet in packets(video) if found is None else found:
        if packet.has_sidedata("encryption_info"):
            raise MediaError("UNSUPPORTED", "encrypted")
        video.num_hidden_packets += packet.is_discard
        if packet.pts is not None and packet.size and not packet.is_discard:
            video.num_shown_packets += 1
            if video.shown_packets is not None:
                video.shown_packets.append((packet.pts, packet.duration or 0))
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.MemoryError as e:
            raise MediaError("OOM", "the decoder ran out of memory") from e
        except av.error.FFmpegError as e:
            video.tally.errors += 1
            if video.tally.errors > MAX_ERRORS:
                raise MediaError("CORRUPT", f"over {MAX_ERRORS} packets could not be decoded: {e.strerror}") from e
