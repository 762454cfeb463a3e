"""Open video files of whitelisted formats, and probe them for the columns of table `videos`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from types import MappingProxyType
from typing import Any

import av
import av.error
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from udfs.audio import soundtrack
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux import packet_times, timeline
from udfs.demux.demuxer import CLOCKED, Video
from udfs.demux.index_file import IndexFile
from udfs.demux.timeline import Timing
from udfs.demux.tracks import video_stream
from udfs.storage.remote_file import AnyPath, RemotePath, media_file, open_path, size
from udfs.video import lost_tracks
from udfs.video.decode import frames
from udfs.video.picture import has_only_dolby_colors, picture_facts
from udfs.video.refusal import refusal

# Only these demuxers may run: ffconcat and HLS playlists open other files, even if named .mp4.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg,mxf,gxf,dv,dhav,"
    "rm,wtv,nut,ivf,yuv4mpegpipe"
)
# Elementary streams, which have no container: their demuxers assume 25 frames per second unless the
# option `framerate` says otherwise. Those of H.264 and HEVC are left out, as they have no times at
# all and allow no seek.
BARE = "mpegvideo,m4v"
BARE_FPS = 25
START_CODE = b"\x00\x00\x01"
PROGRAM_STREAM = (b"\x00\x00\x01\xba", b"\x00\x00\x01\xbb")
PROTOCOLS = "file"
# Bytes and microseconds probed of recordings whose video begins long after their sound.
LATE_VIDEO = {"probesize": "50000000", "analyzeduration": "120000000"}
# Probing one packet is enough for an mp4 whose header is to be believed, and decoding none.
ONE_PACKET, NO_DECODING = {"probesize": "32", "fflags": "+noparse+nofillin"}, {"skip_frame": "all"}
MAX_SLOWDOWN = 4  # the time scale may be wrong if the codec's own frame rate is more than this times the measured one


@contextmanager
def open_video(
    path: AnyPath,
    limits: Limits,
    accel: HWAccel | None = None,
    timing: Timing | None = None,
    index: IndexFile | None = None,
) -> Iterator[Video]:
    """Open a file of a whitelisted format and choose its video stream, by `tracks.video_stream`.

    `accel` decodes the codecs that it can; frames are in main memory all the same. `timing` is what
    ingest measured. `index` is the same file as an object that can skip its media data.

    Raises:
        MediaError: UNSUPPORTED, DENIED, CORRUPT, NO_VIDEO, TOO_LARGE or OOM, before any frame is
            decoded.
    """
    with ExitStack() as stack:
        container = stack.enter_context(_open_container(path, accel, index))
        try:
            stream = video_stream(container)
        except MediaError:
            if container.format.name not in CLOCKED:
                raise
            container = stack.enter_context(_open_container(path, accel, index, LATE_VIDEO))
            stream = video_stream(container)
        _check_size(stream, limits)
        # Each decoding thread would take some of NVDEC's surfaces, of which there are 32.
        stream.codec_context.thread_count = 1 if accel else limits.decode_threads
        yield Video(container, stream, timing=timing or Timing(), is_on_gpu=stream.codec_context.is_hwaccel)


@contextmanager
def open_own_mp4(path: str) -> Iterator[Video]:
    """Open an mp4 that this package wrote, for what its header states; nothing can be decoded.

    Raises:
        MediaError: as `open_video`.
    """
    with ExitStack() as stack:
        container = stack.enter_context(_open_container(path, None, None, ONE_PACKET, NO_DECODING))
        try:
            stream = video_stream(container)
        except MediaError:  # FFmpeg believes only the packets of MPEG-4 Part 2 about the size
            container = stack.enter_context(_open_container(path, None, None))
            stream = video_stream(container)
        yield Video(container, stream)


def probe(path: AnyPath, limits: Limits) -> dict[str, Any]:
    """Read the columns of `videos` from a file's header, its packets and a few decoded frames.

    Raises:
        MediaError: what `open_video` raises; CORRUPT if no frame can be decoded or the time scale
            is wrong; UNSUPPORTED if only Dolby Vision knows the colors; TOO_SHORT for a single
            frame; TOO_LARGE over a limit on frames or seconds.
    """
    with open_video(path, limits) as video:
        first = next(frames(video), None)
        if first is None:
            raise MediaError("CORRUPT", "no frame could be decoded")
        if has_only_dolby_colors(first[1]):
            raise MediaError("UNSUPPORTED", "Dolby Vision without a base of HDR10, HLG or SDR (profile 5 or 10.0)")
        stream = video.stream
        audio = soundtrack.choose_track(video.container, stream) or next(iter(video.container.streams.audio), None)
        facts = {
            "width": stream.width,
            "height": stream.height,
            "video_codec": stream.codec_context.name,
            "pixel_format": stream.codec_context.pix_fmt,
            "audio_codec": _codec_name(audio) if audio else None,
            "bit_rate_k": _bit_rate_k(video),
            "container": video.container.format.name,
            "start_time_s": video.start_s,
        } | picture_facts(video.stream, first[1])
        header = _header_columns(video)
        first_stamp = None if video.shows_by_decode_time else first[1].pts
        is_indexed, sound_s, codec_rate = video.is_indexed, _sound_s(audio), stream.codec_context.framerate
    reads_packets = is_indexed or not isinstance(path, RemotePath) or not header["header_duration_s"]
    measured = (
        _columns_by_packets(path, is_indexed, first_stamp, limits)
        if reads_packets
        else _columns_by_header(path, header, limits)
    )
    _check_time_scale(measured, header["header_num_frames"] or 0, sound_s, float(codec_rate or 0))
    if measured["duration_s"] > limits.max_duration_s:
        raise MediaError("TOO_LARGE", f"{measured['duration_s']:.2f} s of video, over {limits.max_duration_s:g}")
    if measured["duration_s"] <= 0 or measured["num_frames"] < 2:
        raise MediaError("TOO_SHORT", f"{measured['num_frames']} frames in {measured['duration_s']:.3f} s")
    return facts | measured | {name: value for name, value in header.items() if _differs(name, value, measured)}


def _sound_s(stream: AudioStream | None) -> float:
    """The length of the sound in s that the header states; 0 if it states none."""
    return float(stream.duration * stream.time_base) if stream and stream.duration and stream.time_base else 0.0


def _check_time_scale(measured: dict[str, Any], header_frames: int, sound_s: float, codec_rate: float) -> None:
    """Refuse a video that is only as long as its sound at its codec's own, higher frame rate.

    Raises:
        MediaError: CORRUPT.
    """
    codec_s = max(header_frames, measured["num_frames"]) / codec_rate if codec_rate else 0.0
    if codec_rate > MAX_SLOWDOWN * measured["framerate"] and sound_s > 0 and abs(codec_s / sound_s - 1) < 0.1:
        rates = f"frames at {measured['framerate']:.3g} per second by their times, {codec_rate:g} by the codec"
        raise MediaError("CORRUPT", f"{rates}: only the codec's rate fits the {sound_s:.1f} s of sound")


def _header_columns(video: Video) -> dict[str, Any]:
    """The columns `header_*`: what the header states, None for what it does not."""
    rate = video.stream.average_rate
    return {
        "header_num_frames": video.stream.frames or None,
        "header_framerate": float(rate) if rate else None,
        "header_duration_s": video.duration_s or None,
    }


def _differs(name: str, stated: Any, measured: dict[str, Any]) -> bool:
    """Whether a value of the header differs from the measured one.

    A duration may be off by 1.5 frames, a frame rate by a thousandth.
    """
    value = measured[name.removeprefix("header_")]
    tolerance = {"header_framerate": 0.001 * value, "header_duration_s": 1.5 / measured["framerate"]}.get(name, 0)
    return stated is not None and abs(stated - value) > tolerance


def _columns_by_packets(path: AnyPath, is_indexed: bool, first_stamp: int | None, limits: Limits) -> dict[str, Any]:
    """The columns on times, from all packets of a video; of an mp4, from its index alone."""
    with ExitStack() as stack:
        index = stack.enter_context(closing(IndexFile(path))) if is_indexed else None
        video = stack.enter_context(open_video(path, limits, index=index))
        if index:
            index.skip_media()
        measured = packet_times.measure_packets(video, size(path), first_stamp, limits)
        line = measured.timeline
        return {
            "num_frames": len(line.times_s),
            "framerate": line.framerate,
            "duration_s": line.end_s,
            "is_vfr": measured.is_vfr,
            "frame_times": None if line.is_even else timeline.pack(line.times_s),
            "num_hidden_frames": measured.num_hidden,
            "clock_breaks": [b._asdict() for b in measured.breaks] or None,
            "reorder_s": measured.reorder_s,
            "footage_warning": lost_tracks.warning(path, size(path), measured.hole, video),
            "timing": "index" if is_indexed else "packets",
        }


def _columns_by_header(path: AnyPath, header: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The columns on times of a remote video, from its header and its first packets."""
    with open_video(path, limits) as video:
        rate, is_vfr = packet_times.estimate_rate(video)
    duration_s = header["header_duration_s"]
    return {
        "num_frames": header["header_num_frames"] or round(duration_s * rate),
        "framerate": float(rate),
        "duration_s": duration_s,
        "is_vfr": is_vfr,
        "timing": "header",
    }


def _open_container(
    path: AnyPath,
    accel: HWAccel | None,
    index: IndexFile | None,
    probing: Mapping[str, str] = MappingProxyType({}),
    decoding: Mapping[str, str] = MappingProxyType({}),
) -> InputContainer:
    """Open a container, in software if `accel` fails.

    Raises:
        MediaError: the reason for which it does not open.
    """
    options = {"format_whitelist": f"{FORMATS},{BARE}", "protocol_whitelist": PROTOCOLS, **probing}
    file = media_file(path)
    if index is not None:
        file, options["fflags"] = index, "+noparse"
    try:
        container: InputContainer = av.open(
            file, options=dict(decoding), container_options=options, metadata_errors="replace", hwaccel=accel
        )
        return _reopen_bare(path, container, options, accel) if container.format.name in BARE.split(",") else container
    except (av.error.FFmpegError, ValueError) as e:
        if accel is not None:  # the GPU's memory may be full
            return _open_container(path, None, index, probing)
        raise refusal(path, e) from e


def _reopen_bare(
    path: AnyPath, container: InputContainer, options: dict[str, str], accel: HWAccel | None
) -> InputContainer:
    """Open an elementary stream again at the frame rate that its own header states.

    Raises:
        MediaError: CORRUPT for a container with a damaged header: as an elementary stream it would
            lose its sound and times.
    """
    with open_path(path) as file:
        head = file.read(4)
    if not head.startswith(START_CODE) or head in PROGRAM_STREAM:
        raise MediaError("CORRUPT", "a video container whose header is damaged")
    rate = container.streams.video[0].guessed_rate
    if not rate or rate == BARE_FPS:
        return container
    container.close()
    reopened: InputContainer = av.open(
        media_file(path), container_options=options | {"framerate": str(rate)}, metadata_errors="replace", hwaccel=accel
    )
    return reopened


def _check_size(stream: VideoStream, limits: Limits) -> None:
    if stream.width * stream.height > limits.max_pixels:
        raise MediaError("TOO_LARGE", f"{stream.width}x{stream.height} is over {limits.max_pixels} pixels")


def _codec_name(audio: AudioStream) -> str:
    # None for a codec without a decoder, whatever the type says.
    context: AudioCodecContext | None = audio.codec_context
    return context.name if context else "unknown"


def _bit_rate_k(video: Video) -> int | None:
    rate = video.stream.codec_context.bit_rate or video.container.bit_rate
    return rate // 1000 if rate else None
