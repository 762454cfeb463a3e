"""A picture stream, encoded or copied, and a span of sound -> a finished mp4."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from udfs.audio import audio_writer, soundtrack
from udfs.audio.audio_writer import AudioMode
from udfs.core.heartbeat import beat
from udfs.core.limits import Limits
from udfs.demux.demuxer import Video
from udfs.demux.timeline import Timing
from udfs.storage.remote_file import AnyPath
from udfs.video import container, mp4_writer
from udfs.video.picture import SQUARE, sample_aspect

REORDER_PACKETS = 32  # packets at the end, among which the one shown last is found
AUDIO_MODES: tuple[AudioMode, ...] = ("copy", "encode")  # attempts to take the sound, in order

# What to take the picture from, opened anew at each call: a stream as template, and its packets from time 0 on.
Picture = Callable[[], AbstractContextManager[tuple[VideoStream, "Iterator[Packet[VideoStream]]"]]]


@dataclass(frozen=True)
class Sound:
    """Where the sound comes from."""

    path: AnyPath
    span: audio_writer.SoundSpan
    timing: Timing
    source: Video | None = None  # the same file, open already; else it is opened for each attempt


@dataclass
class _Track:
    """One attempt to take the sound, and how much of it that gave."""

    sound: Sound
    mode: AudioMode
    coverage: audio_writer.Coverage = field(default_factory=audio_writer.Coverage)


def write(target: str, picture: Picture, sound: Sound | None, limits: Limits) -> str | None:
    """Write the mp4 with its sound copied, else encoded, else without it; returns a warning if sound is lost.

    Raises:
        FFmpegError, ValueError: it cannot be written without sound either.
    """
    if sound is None:
        _write(target, picture, limits)
        return None
    problem = ""
    for mode in AUDIO_MODES:
        track = _Track(sound, mode)
        try:
            _write_with(track, target, picture, limits)
        except (av.error.FFmpegError, audio_writer.CopyError, ValueError) as e:
            problem = " ".join(str(e).split())
            sound = replace(sound, source=None)  # reading may have failed anywhere in it
        else:
            return track.coverage.warning
    _write(target, picture, limits)
    return _loss(sound, problem, limits)


def _write_with(track: _Track, target: str, picture: Picture, limits: Limits) -> None:
    try:
        _write(target, picture, limits, track)
    except soundtrack.SeekError:
        track.sound = _from_start(track.sound)
        _write(target, picture, limits, track)


def _from_start(sound: Sound) -> Sound:
    return replace(sound, span=replace(sound.span, by_seek=False), source=None)


def _loss(sound: Sound, problem: str, limits: Limits) -> str | None:
    """The warning of a clip that goes without its sound."""
    coverage = audio_writer.Coverage()
    with container.open_video(sound.path, limits, timing=sound.timing) as source:
        audio_writer.measure_coverage(source, _from_start(sound).span, coverage)
    coverage.problem = problem
    return coverage.warning


def facts(path: str, limits: Limits) -> dict[str, Any]:
    """What a finished mp4 holds, as its header says."""
    with container.open_video(path, limits) as video:
        sound = next(iter(video.container.streams.audio), None)
        return {
            "width": video.stream.width,
            "height": video.stream.height,
            "sample_aspect_ratio": float(sample_aspect(video.stream)),
            "framerate": video.stream.frames / video.duration_s if video.duration_s else None,
            "num_frames": video.stream.frames,
            "duration_s": video.duration_s,
            "video_codec": video.stream.codec_context.codec.canonical_name,
            "audio_codec": sound.codec_context.codec.canonical_name if sound else None,
        }


def whole(path: str, limits: Limits) -> Picture:
    """The picture of an mp4, all of it."""

    @contextmanager
    def opened() -> Iterator[tuple[VideoStream, Iterator[Packet[VideoStream]]]]:
        with container.open_video(path, limits) as video:
            packets = (packet for packet in video.container.demux(video.stream) if packet.size)
            yield video.stream, _extend_last(packets, video.stream.duration or 0)

    return opened


def _extend_last(packets: Iterator[Packet[VideoStream]], end: int) -> Iterator[Packet[VideoStream]]:
    """The packets, with the one shown last lasting until `end` (ticks): mp4 stores the steps of decoding times instead."""
    recent: deque[Packet[VideoStream]] = deque()
    for packet in packets:
        recent.append(packet)
        if len(recent) > REORDER_PACKETS:
            yield recent.popleft()
    if recent:
        last = max(recent, key=lambda packet: packet.pts or 0)
        last.duration = max(last.duration or 1, end - (last.pts or 0))
    yield from recent


def _write(target: str, picture: Picture, limits: Limits, track: _Track | None = None) -> None:
    with ExitStack() as opened:
        template, packets = opened.enter_context(picture())
        out = opened.enter_context(mp4_writer.create(target))
        stream = out.add_stream_from_template(template, opaque=True)  # by codec: there may be no encoder of the decoder's name
        stream.time_base = template.time_base
        if (aspect := sample_aspect(template)) != (template.codec_context.sample_aspect_ratio or SQUARE):
            stream.codec_context.sample_aspect_ratio = aspect  # the source's container overrides its coded stream
        tracks: list[Iterable[Packet[Any]]] = [_onto(packets, stream)]
        if track is not None:
            sound = track.sound
            source = sound.source or opened.enter_context(container.open_video(sound.path, limits, timing=sound.timing))
            tracks.append(audio_writer.add_sound(source, sound.span, out, track.mode, track.coverage))
        for packet in heapq.merge(*tracks, key=_decode_time):
            beat()
            out.mux(packet)


def _onto(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    for packet in packets:
        packet.stream = stream
        yield packet


def _decode_time(packet: Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)
