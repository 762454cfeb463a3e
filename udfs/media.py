"""A path -> container facts and decoded frames; with encode.py the only module that opens a container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from typing import Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from udfs.decoding import BOUNDARY_TOLERANCE_S as BOUNDARY_TOLERANCE_S
from udfs.decoding import Video as Video
from udfs.decoding import frames as frames
from udfs.decoding import packets
from udfs.errors import MediaError
from udfs.limits import Limits as Limits
from udfs.limits import Tally as Tally
from udfs.refusal import refusal
from udfs.remote import AnyPath, RemoteFile, RemotePath

# ffconcat and HLS playlists open other files, even from under an .mp4 name: only these demuxers may run.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg"
PROTOCOLS = "file"
SPACING_SAMPLE = 300  # packets looked at to tell a variable frame rate
SPACING_SLACK = 0.1  # of the median spacing


@contextmanager
def open_video(path: AnyPath, limits: Limits, accel: HWAccel | None = None) -> Iterator[Video]:
    """Open a file by the whitelists and find its video stream: the default one, else the first that is no cover art.

    `accel` decodes it where it can; the frames come in the machine's memory all the same.

    Raises:
        MediaError: UNSUPPORTED, DENIED, CORRUPT, NO_VIDEO or TOO_LARGE, before any frame is decoded.
    """
    with _opened(path, accel) as container:
        stream = _video_stream(container)
        _check_size(stream, limits)
        # Each thread would take surfaces of NVDEC's, of which there are 32.
        stream.codec_context.thread_count = 1 if accel else limits.decode_threads
        video = Video(container, stream)
        if video.duration_s > limits.max_duration_s:
            raise MediaError("TOO_LARGE", f"{video.duration_s:.0f} s of video, over {limits.max_duration_s:.0f}")
        yield video


def probe(path: AnyPath, limits: Limits) -> dict[str, Any]:
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
            "audio_codec": _codec_name(audio) if audio else None,
            "bit_rate_k": _bit_rate_k(video),
            "container": video.container.format.name,
            "is_vfr": _is_vfr(video),
        }
    with open_video(path, limits) as video:  # anew: the packets looked at are spent
        first = next(frames(video), None)
        if first is None:
            raise MediaError("CORRUPT", "no frame could be decoded")
        return facts | {"rotation": int(first[1].rotation) % 360, "start_time_s": video.start_s}


def _opened(path: AnyPath, accel: HWAccel | None) -> InputContainer:
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    file: Any = RemoteFile(path) if isinstance(path, RemotePath) else path
    try:
        container: InputContainer = av.open(file, container_options=options, metadata_errors="replace", hwaccel=accel)
        return container
    except (av.error.FFmpegError, ValueError) as e:
        if accel is not None:  # the card may be full
            return _opened(path, None)
        raise refusal(path, e) from e


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
    if _is_listed_evenly(video):
        return False
    stamped = islice((p for p in packets(video) if p.pts is not None), SPACING_SAMPLE)
    return _varies(sorted({float(p.pts * p.time_base) for p in stamped if p.pts is not None and p.time_base is not None}))


def _is_listed_evenly(video: Video) -> bool:
    """Whether an mp4's header lists evenly decoded packets, which are then shown evenly, and need not be read."""
    stream, base = video.stream, video.stream.time_base
    if not video.container.format.name.startswith("mov") or base is None or len(stream.index_entries) < 4:
        return False
    whole = len(stream.index_entries) >= min(SPACING_SAMPLE, stream.frames or SPACING_SAMPLE)
    return whole and not _varies([float(entry.timestamp * base) for entry in stream.index_entries[:SPACING_SAMPLE]])


def _varies(times: list[float]) -> bool:
    gaps = sorted(b - a for a, b in pairwise(times))
    if len(gaps) < 3:
        return False
    median = gaps[len(gaps) // 2]
    slack = max(SPACING_SLACK * median, 2 * BOUNDARY_TOLERANCE_S)
    return gaps[-1] - median > slack or median - gaps[0] > slack


def _codec_name(audio: AudioStream) -> str:
    context: AudioCodecContext | None = audio.codec_context  # None for a codec without a decoder, whatever the type says
    return context.name if context else "unknown"


def _bit_rate_k(video: Video) -> int | None:
    rate = video.stream.codec_context.bit_rate or video.container.bit_rate
    return rate // 1000 if rate else None
