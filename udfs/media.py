"""A path -> container facts and decoded frames; with encode.py the only module that opens a container."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from typing import Annotated, Any

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.errors import MediaError

# ffconcat and HLS playlists open other files, even from under an .mp4 name: only these demuxers may run.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg"
PROTOCOLS = "file"
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<?xml", b"<MPD")
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp")
MAGIC = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"0&\xb2u", b"\x00\x00\x01\xba", b"G@")
BOUNDARY_TOLERANCE_S = 0.001  # Matroska rounds its times to ms: a frame this close to a boundary lies on it
SPACING_SAMPLE = 300  # packets looked at to tell a variable frame rate
SPACING_SLACK = 0.1  # of the median spacing


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """[limits]: what one input may cost before it becomes a row of `failures`."""

    max_pixels: Annotated[int, Field(gt=0, description="width x height of a frame")] = 7680 * 4320
    max_duration_s: Annotated[float, Field(gt=0)] = 24 * 3600.0
    max_frames: Annotated[int, Field(gt=0)] = 10_000_000
    max_corrupt_share: Annotated[float, Field(ge=0, le=1, description="of a clip's frames")] = 0.05
    memory_mb: Annotated[int, Field(ge=256, description="address space of the decoding process")] = 4096
    timeout_s: Annotated[float, Field(gt=0, description="for one input")] = 120.0
    timeout_per_s: Annotated[float, Field(ge=0, description="more for each second of video in it")] = 30.0
    decode_threads: Annotated[int, Field(ge=1, le=64)] = 1


@dataclass
class Tally:
    """What a decode met: frames shown, frames flagged corrupt, packets refused."""

    frames: int = 0
    corrupt: int = 0
    errors: int = 0

    def check(self, expected: int, limits: Limits) -> None:
        """Raise what the counts amount to.

        Raises:
            MediaError: CORRUPT if no frame came or too many were damaged, PARTIAL if the end is missing.
        """
        if self.frames == 0:
            raise MediaError("CORRUPT", "no frame could be decoded")
        damaged = self.corrupt + self.errors
        if damaged > limits.max_corrupt_share * (self.frames + self.errors):
            raise MediaError("CORRUPT", f"{damaged} of {self.frames + self.errors} frames are damaged")
        if self.frames < (1 - limits.max_corrupt_share) * expected - 1:
            raise MediaError("PARTIAL", f"{self.frames} of {expected} frames could be decoded")


@dataclass
class Video:
    """An open container with the one video stream that counts, and the tally of what was decoded from it."""

    container: InputContainer
    stream: VideoStream
    tally: Tally = field(default_factory=Tally)

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
        """The time of the first frame on the container's own clock."""
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
        container = av.open(path, container_options=options)
    except (av.error.FFmpegError, ValueError) as e:
        raise _refusal(path, e) from e
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

    Damaged packets are passed over and counted in `video.tally`. Times rise strictly: a missing or backward time stamp is
    replaced by one frame after the last.
    """
    step = float(1 / video.framerate)
    if start_s > 0:
        _seek(video, start_s - step)
    last = -math.inf
    for frame in _decoded(video):
        shown = frame.time - video.start_s if frame.time is not None else -math.inf
        at = shown if shown > last else (0.0 if last == -math.inf else last + step)
        last = at
        if at >= end_s - BOUNDARY_TOLERANCE_S:
            return
        if at >= start_s - BOUNDARY_TOLERANCE_S:
            video.tally.frames += 1
            video.tally.corrupt += frame.is_corrupt
            yield max(at, 0.0), frame


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
            "start_time_s": video.start_s,
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
        return facts | {"rotation": int(first[1].rotation) % 360}


def _decoded(video: Video) -> Iterator[VideoFrame]:
    packets = video.container.demux(video.stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
        except av.error.MemoryError as e:
            raise MediaError("OOM", "the decoder ran out of memory") from e
        except av.error.EOFError:
            return
        except av.error.FFmpegError as e:
            video.tally.errors += 1
            if video.tally.errors > 1000:
                raise MediaError("CORRUPT", f"over 1000 packets could not be decoded: {e.strerror}") from e


def _seek(video: Video, at_s: float) -> None:
    base = video.stream.time_base
    if base is None:
        return
    try:
        video.container.seek(int(max(0.0, at_s + video.start_s) / base), stream=video.stream, backward=True)
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


def _refusal(path: str, error: Exception) -> MediaError:
    with open(path, "rb") as f:
        head = f.read(512)
    if any(head.lstrip().startswith(mark) for mark in PLAYLISTS):
        return MediaError("DENIED", "a playlist, which would open other files")
    if isinstance(error, av.error.MemoryError):
        return MediaError("OOM", "the header asks for more memory than the limit")
    if head[4:8] in BOXES or head.startswith(MAGIC):
        return MediaError("CORRUPT", f"a video container that does not open: {getattr(error, 'strerror', error)}")
    return MediaError("UNSUPPORTED", "not a video container")
