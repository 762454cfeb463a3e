"""A path -> container facts and decoded frames; with encode.py the only module that opens a container."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.errors import MediaError
from udfs.limits import Limits as Limits
from udfs.limits import Tally as Tally
from udfs.refusal import refusal

# ffconcat and HLS playlists open other files, even from under an .mp4 name: only these demuxers may run.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg"
PROTOCOLS = "file"
BOUNDARY_TOLERANCE_S = 0.001  # Matroska rounds its times to ms: a frame this close to a boundary lies on it
MAX_ERRORS = 1000  # packets refused, before a file is given up
SPACING_SAMPLE = 300  # packets looked at to tell a variable frame rate
SPACING_SLACK = 0.1  # of the median spacing
# How far before the wanted time a seek aims, one try after the other: without an index (MPEG-TS, FLV) it may land behind it.
SEEK_BACK_S = (0.0, 2.0, 15.0, 60.0)


@dataclass
class Video:
    """An open container with the one video stream that counts, and the tally of what was decoded from it."""

    container: InputContainer
    stream: VideoStream
    tally: Tally = field(default_factory=Tally)
    first_s: float | None = None  # when the first frame is shown, once it has been decoded

    @property
    def framerate(self) -> Fraction:
        """Frames a second; 25 where the container does not say."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def duration_s(self) -> float:
        """Seconds from the first shown frame to the end of the last, as the container states them; 0 if it does not."""
        if self.stream.duration is not None and self.stream.time_base is not None:
            return float(self.stream.duration * self.stream.time_base)
        if self.container.duration is None:
            return 0.0
        return max(0.0, self.container.duration / av.time_base - self.start_s)

    @property
    def start_s(self) -> float:
        """The time of the first shown frame on the container's own clock; until one is decoded, what the header says."""
        if self.first_s is not None:
            return self.first_s
        if self.stream.start_time is None or self.stream.time_base is None:
            return 0.0
        return float(self.stream.start_time * self.stream.time_base)


@contextmanager
def open_video(path: str, limits: Limits) -> Iterator[Video]:
    """Open a file by the whitelists and find its video stream: the default one, else the first that is no cover art.

    Raises:
        MediaError: UNSUPPORTED, DENIED, CORRUPT, NO_VIDEO or TOO_LARGE, before any frame is decoded.
    """
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    try:
        container = av.open(path, container_options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as e:
        raise refusal(path, e) from e
    with container:
        stream = _video_stream(container)
        _check_size(stream, limits)
        stream.codec_context.thread_count = limits.decode_threads
        video = Video(container, stream)
        if video.duration_s > limits.max_duration_s:
            raise MediaError("TOO_LARGE", f"{video.duration_s:.0f} s of video, over {limits.max_duration_s:.0f}")
        yield video


def frames(video: Video, start_s: float = 0.0, end_s: float = math.inf) -> Iterator[tuple[float, VideoFrame]]:
    """Decode the frames shown in [start_s, end_s), each with its time in seconds after the first shown frame.

    Damaged packets are passed over and counted in `video.tally`. Times rise strictly: where the file's are missing or jump
    back, a frame follows the last one by the frame rate.
    """
    step = float(1 / video.framerate)
    last = -math.inf
    for frame in _decoded_from(video, start_s - step):
        last = at = _risen(None if frame.time is None else frame.time - video.start_s, last, step)
        if at >= end_s - BOUNDARY_TOLERANCE_S:
            return
        if at >= start_s - BOUNDARY_TOLERANCE_S:
            video.tally.frames += 1
            video.tally.corrupt += frame.is_corrupt
            yield max(at, 0.0), frame


def _risen(shown_s: float | None, last_s: float, step_s: float) -> float:
    if last_s == -math.inf:
        return shown_s or 0.0
    if shown_s is None or shown_s < last_s - 1.5 * step_s:
        return last_s + step_s
    return max(shown_s, last_s + step_s / 8)  # two frames of one time: the next ones are right again


def probe(path: str, limits: Limits) -> dict[str, Any]:
    """The facts of a file, from its header, its first packets and one decoded frame.

    Raises:
        MediaError: what `open_video` raises, CORRUPT if no frame decodes, TOO_SHORT if the file shows no time.
    """
    with open_video(path, limits) as video:
        stream, audio = video.stream, next(iter(video.container.streams.audio), None)
        fps = float(video.framerate)
        num_frames = stream.frames or round(video.duration_s * fps)
        if num_frames > limits.max_frames:
            raise MediaError("TOO_LARGE", f"{num_frames} frames, over {limits.max_frames}")
        if video.duration_s <= 0 or num_frames < 2:
            raise MediaError("TOO_SHORT", f"{num_frames} frames in {video.duration_s:.3f} s")
        facts = {
            "width": stream.width,
            "height": stream.height,
            "framerate": fps,
            "num_frames": num_frames,
            "duration_s": video.duration_s,
            "video_codec": stream.codec_context.name,
            "pixel_format": stream.codec_context.pix_fmt,
            "audio_codec": audio.codec_context.name if audio else None,
            "bit_rate_k": _bit_rate_k(video),
            "container": video.container.format.name,
            "is_vfr": _is_vfr(video),
        }
    with open_video(path, limits) as video:  # anew: the packets looked at are spent
        first = next(frames(video), None)
        if first is None:
            raise MediaError("CORRUPT", "no frame could be decoded")
        return facts | {"rotation": int(first[1].rotation) % 360, "start_time_s": video.start_s}


def _decoded_from(video: Video, at_s: float) -> Iterator[VideoFrame]:
    """The frames from a key frame at or before a time, or from the first where no seek leads there."""
    if video.first_s is not None:
        _seek(video, -math.inf)
    decoded = _decoded(video)
    first = next(decoded, None)
    if video.first_s is None and first is not None:  # not the header's start: AVI has none, and it may tell of another stream
        video.first_s = video.start_s if first.time is None else first.time
    errors = video.tally.errors
    for back_s in (*SEEK_BACK_S, math.inf) if at_s > 0 and first is not None else ():
        if back_s == math.inf and first is None:
            break  # not a frame in the minute before: the file ends earlier
        _seek(video, at_s - back_s)
        video.tally.errors, decoded = errors, _decoded(video)
        first = next(decoded, None)
        if first is not None and first.time is not None and first.time - video.start_s <= at_s + BOUNDARY_TOLERANCE_S:
            break
    if first is not None:
        yield first
        yield from decoded


def _decoded(video: Video) -> Iterator[VideoFrame]:
    for packet in _packets(video):
        if packet.has_sidedata("encryption_info"):
            raise MediaError("UNSUPPORTED", "encrypted")
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


def _packets(video: Video) -> Iterator[Packet[VideoStream]]:
    """The packets, and an empty one at the end or where the file cannot be read on: the decoder then gives what it holds."""
    try:
        yield from video.container.demux(video.stream)
    except av.error.MemoryError as e:
        raise MediaError("OOM", "a packet asks for more memory than the limit") from e
    except av.error.FFmpegError:
        video.tally.errors += 1
        last = cast("Packet[VideoStream]", Packet())
        last.stream, last.time_base = video.stream, video.stream.time_base or last.time_base
        yield last


def _seek(video: Video, at_s: float) -> None:
    """Move to a key frame before a time after the first shown frame, or to the beginning."""
    base = video.stream.time_base
    try:
        if base is None or at_s <= 0:
            video.container.seek(0)
        else:
            video.container.seek(int((at_s + video.start_s) / base), stream=video.stream, backward=True)
    except av.error.FFmpegError:
        video.container.seek(0)  # no index: decode from the start


def _video_stream(container: InputContainer) -> VideoStream:
    shown = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    usable = [s for s in shown if s.codec_context is not None and s.width and s.height]
    if not shown:
        raise MediaError("NO_VIDEO", "no video stream")
    if not usable:
        raise MediaError("UNSUPPORTED", "no decoder for the video stream, or a frame size of nothing")
    return next((s for s in usable if s.disposition & av.stream.Disposition.default), usable[0])


def _check_size(stream: VideoStream, limits: Limits) -> None:
    if stream.width * stream.height > limits.max_pixels:
        raise MediaError("TOO_LARGE", f"{stream.width}x{stream.height} is over {limits.max_pixels} pixels")


def _is_vfr(video: Video) -> bool:
    """Whether the spacing of the first packets' times varies; B-frames are stored out of order, hence the sort."""
    packets = islice((p for p in video.container.demux(video.stream) if p.pts is not None), SPACING_SAMPLE)
    times = sorted({float(p.pts * p.time_base) for p in packets if p.pts is not None and p.time_base is not None})
    gaps = sorted(b - a for a, b in pairwise(times))
    if len(gaps) < 3:
        return False
    median = gaps[len(gaps) // 2]
    slack = max(SPACING_SLACK * median, 2 * BOUNDARY_TOLERANCE_S)
    return gaps[-1] - median > slack or median - gaps[0] > slack


def _bit_rate_k(video: Video) -> int | None:
    rate = video.stream.codec_context.bit_rate or video.container.bit_rate
    return rate // 1000 if rate else None
