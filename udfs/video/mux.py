"""Write an mp4 from a picture stream, encoded or copied, and a span of sound."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from udfs.audio import audio_writer
from udfs.audio.audio_writer import AudioMode
from udfs.audio.sound_file import SoundFile
from udfs.core.heartbeat import beat
from udfs.core.limits import Limits
from udfs.video import container, mp4_writer
from udfs.video.picture import SQUARE, sample_aspect

REORDER_PACKETS = 32  # the packet shown last is among this many at the end
AUDIO_MODES: tuple[AudioMode, ...] = ("copy", "encode")  # tried in this order

# Opens the source of a picture stream: a stream as template, and its packets from time 0 on. Each
# call begins again.
Picture = Callable[[], AbstractContextManager[tuple[VideoStream, "Iterator[Packet[VideoStream]]"]]]


@dataclass(frozen=True)
class Sound:
    """The file and span that sound is taken from."""

    file: SoundFile
    span: audio_writer.SoundSpan


@dataclass
class _Track:
    """One attempt to take the sound, and how much sound it yielded."""

    sound: Sound
    mode: AudioMode
    coverage: audio_writer.Coverage = field(default_factory=audio_writer.Coverage)


def write_mp4(target: str, picture: Picture, sound: Sound | None) -> str | None:
    """Write an mp4 with its sound copied, or else encoded, or else without it.

    Returns the column `audio_warning`: a warning if sound is lost, or None.

    Raises:
        FFmpegError, ValueError: the mp4 cannot be written even without sound.
    """
    if sound is None:
        _write(target, picture)
        return None
    problem = ""
    for mode in AUDIO_MODES:
        track = _Track(sound, mode)
        try:
            _write(target, picture, track)
        except audio_writer.CopyError as e:
            problem = str(e)
        except (av.error.FFmpegError, ValueError) as e:
            problem = " ".join(str(e).split())
            sound.file.close()  # reading may have failed anywhere in it
        else:
            return track.coverage.warning
    _write(target, picture)
    return _loss_warning(sound, problem)


def _loss_warning(sound: Sound, problem: str) -> str | None:
    """The warning for an mp4 that was written without its sound.

    It is None if the source has none in the span.
    """
    coverage = audio_writer.Coverage()
    audio_writer.measure_coverage(sound.file, sound.span, coverage)
    coverage.problem = problem
    return coverage.warning


def mp4_facts(path: str) -> dict[str, Any]:
    """The columns of `clips` that the header of a finished mp4 states."""
    with container.open_own_mp4(path) as video:
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


def whole_picture(path: str, limits: Limits) -> Picture:
    """The whole picture stream of an mp4."""

    @contextmanager
    def picture() -> Iterator[tuple[VideoStream, Iterator[Packet[VideoStream]]]]:
        with container.open_video(path, limits) as video:
            packets = (packet for packet in video.container.demux(video.stream) if packet.size)
            yield video.stream, _with_last_extended(packets, video.stream.duration or 0)

    return picture


def _with_last_extended(packets: Iterator[Packet[VideoStream]], end: int) -> Iterator[Packet[VideoStream]]:
    """The packets, of which the one shown last lasts until `end` (ticks).

    Its stated duration may be shorter: mp4 stores the distance of decoding times instead.
    """
    recent: deque[Packet[VideoStream]] = deque()
    for packet in packets:
        recent.append(packet)
        if len(recent) > REORDER_PACKETS:
            yield recent.popleft()
    if recent:
        last = max(recent, key=lambda packet: packet.pts or 0)
        last.duration = max(last.duration or 1, end - (last.pts or 0))
    yield from recent


def _write(target: str, picture: Picture, track: _Track | None = None) -> None:
    with ExitStack() as stack:
        template, packets = stack.enter_context(picture())
        out = stack.enter_context(mp4_writer.create_mp4(target))
        stream = out.add_stream_from_template(template, opaque=True)  # by codec: no encoder may have the decoder's name
        stream.time_base = template.time_base
        if (aspect := sample_aspect(template)) != (template.codec_context.sample_aspect_ratio or SQUARE):
            stream.codec_context.sample_aspect_ratio = aspect  # the source's container overrides its coded stream
        tracks = [_timed(_assigned(packets, stream))]
        if track is not None:
            sound = track.sound
            tracks.append(_timed(audio_writer.add_sound(sound.file, sound.span, out, track.mode, track.coverage)))
        for _, packet in heapq.merge(*tracks, key=itemgetter(0)):
            beat()
            out.mux(packet)


def _assigned(packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets, as packets of `stream`."""
    for packet in packets:
        packet.stream = stream
        yield packet


def _timed(packets: Iterator[Packet[Any]]) -> Iterator[tuple[float, Packet[Any]]]:
    """Each packet of a track with its decoding time in s."""
    num, den = 0, 0
    for packet in packets:
        if not den:
            num, den = packet.time_base.as_integer_ratio()
        yield (packet.dts or 0) * num / den, packet
