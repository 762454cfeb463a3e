"""Copy a stretch of a file's sound into an mp4, or encode it as AAC, and measure how much of it is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from typing import Literal

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from udfs.audio import samples, soundtrack
from udfs.audio.samples import Samples, Shape
from udfs.audio.soundtrack import Packets
from udfs.demux.demuxer import Video

Way = Literal["copy", "encode"]

COPYABLE = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_FRAME = 1024  # samples
TRIALS = 5  # packets that are decoded before a copy, to check that the stream decodes
LONGEST_COPIED_S = 0.2  # a longer packet reaches too far beyond the ends of the stretch
SLACK_S = 0.002  # containers round the times of packets to ms
LATE_S = 0.05  # a copy that begins later than its picture needs an edit list, which many readers ignore
LEAST_LOSS_S = 0.1  # a smaller loss gives no warning


class UnfitError(Exception):
    """This sound cannot be copied into an mp4; the text says why."""


@dataclass(frozen=True)
class Stretch:
    """The sound of a clip: from when to when, in seconds on the clock of its container, and in which language."""

    start_s: float
    end_s: float
    language: str = ""  # to prefer, as a code of ISO 639
    by_seek: bool = True  # False: the file is read from its beginning


@dataclass
class Coverage:
    """How much sound the source has in a stretch, and how much of it is in the clip."""

    source_s: float = 0.0
    kept_s: float = 0.0
    num_packets: int = 0
    problem: str = "it cannot be decoded"

    @property
    def warning(self) -> str | None:
        """The text of the column `audio_warning`; None if no sound is lost."""
        if self.source_s - self.kept_s <= LEAST_LOSS_S:
            return None
        if self.kept_s <= 0:
            return f"no sound: {self.problem}"
        return f"{self.source_s - self.kept_s:.1f} s of {self.source_s:.1f} s of sound are missing: {self.problem}"


def packets(source: Video, stretch: Stretch, out: OutputContainer, way: Way, coverage: Coverage) -> Packets:
    """Add a stream to `out` and give its packets, whose time 0 is the start of the stretch; none if there is no sound.

    A copied stretch begins with a packet from before it, which players decode and do not play.

    Raises:
        UnfitError: the sound cannot be copied, which any packet may show.
        SeekError: the file has to be read from its beginning.
        FFmpegError: the sound is damaged.
    """
    stream = soundtrack.choose(source.container.streams.audio, stretch.language)
    if stream is None:
        coverage.problem = "its track has no decoder"
        measure(source, stretch, coverage)
        return iter(())
    soundtrack.name_layout(stream)
    stream.codec_context.flush_buffers()  # the source may have given an earlier stretch
    copyable = stream.codec_context.codec.canonical_name in COPYABLE
    if way == "copy" and not copyable:
        raise UnfitError(f"mp4 does not hold {stream.codec_context.codec.canonical_name}")
    found = _packets_within(source, stream, stretch, coverage)
    return _copy(found, stream, stretch, out, coverage) if way == "copy" else _encode(found, stream, stretch, out, coverage)


def measure(source: Video, stretch: Stretch, coverage: Coverage) -> None:
    """Measure how much sound the stretch has, without taking any of it."""
    tracks = source.container.streams.audio
    stream = soundtrack.choose(tracks, stretch.language) or next(iter(tracks), None)
    if stream is not None:
        for _ in _packets_within(source, stream, stretch, coverage):
            pass


def _packets_within(source: Video, stream: AudioStream, stretch: Stretch, coverage: Coverage) -> Packets:
    """The track's packets from shortly before the stretch to its end, or to where reading fails."""
    coverage.source_s, coverage.kept_s, coverage.num_packets = _stated_s(stream, stretch), 0.0, 0
    from_s = stretch.start_s if stretch.by_seek else -math.inf
    end_s: float | None = None
    try:
        for packet in soundtrack.repair_times(soundtrack.packets_from(source, stream, from_s), stream):
            start_s = float((packet.pts or 0) * packet.time_base)
            if end_s is None:
                coverage.source_s, end_s = 0.0, stretch.start_s  # packets are more reliable than the header
            if start_s >= stretch.end_s:
                return
            length_s = float((packet.duration or 0) * packet.time_base)
            coverage.source_s += 0 if packet.is_discard else _overlap_s(max(start_s, end_s), start_s + length_s, stretch)
            end_s = max(end_s, start_s + length_s)
            if start_s + length_s >= stretch.start_s - soundtrack.RUN_UP_S:
                coverage.num_packets += 1
                yield packet
    except av.error.FFmpegError as e:
        coverage.source_s += max(0.0, stretch.end_s - (stretch.end_s if end_s is None else end_s))
        coverage.problem = f"the file cannot be read on ({e.strerror})"


def _stated_s(stream: AudioStream, stretch: Stretch) -> float:
    """Seconds of sound in the stretch by the track's header; 0 if it states no length."""
    if not stream.duration or stream.start_time is None or stream.time_base is None:
        return 0.0
    start_s = float(stream.start_time * stream.time_base)
    return _overlap_s(start_s, start_s + float(stream.duration * stream.time_base), stretch)


def _overlap_s(start_s: float, end_s: float, stretch: Stretch) -> float:
    return max(0.0, min(end_s, stretch.end_s) - max(start_s, stretch.start_s))


def _copy(found: Packets, stream: AudioStream, stretch: Stretch, out: OutputContainer, coverage: Coverage) -> Packets:
    copyable = _check_copyable(_with_one_before(found, stretch.start_s), stream, stretch)
    trial = list(islice(copyable, TRIALS))
    if not trial:
        return iter(())
    _check_decodes(trial, stream)
    copy = out.add_stream_from_template(stream)
    return _shift_times(chain(trial, copyable), copy, stretch.start_s, coverage)


def _with_one_before(found: Packets, start_s: float) -> Packets:
    """The packets that end after a time, preceded by the last one that does not."""
    before: Packet[AudioStream] | None = None
    for packet in found:
        if float(((packet.pts or 0) + (packet.duration or 1)) * packet.time_base) > start_s:
            if before is not None:
                yield before
                before = None
            yield packet
        else:
            before = packet


def _check_copyable(track: Packets, stream: AudioStream, stretch: Stretch) -> Packets:
    """The packets of a copy.

    Raises:
        UnfitError: they do not follow one another, or are not all of one kind.
    """
    end_s: float | None = None
    kind: tuple[int, ...] | None = None
    for packet in track:
        start_s = float((packet.pts or 0) * packet.time_base)
        length_s = float((packet.duration or 0) * packet.time_base)
        if not 0 < length_s <= LONGEST_COPIED_S:
            raise UnfitError("its packets are too long, or do not say how long they are")
        if end_s is None and start_s > stretch.start_s + LATE_S:
            raise UnfitError("it begins after the picture")
        if packet.is_discard and start_s >= stretch.start_s:
            raise UnfitError("an edit list hides some of it")
        slack_s = SLACK_S + float(packet.time_base)
        if end_s is not None and abs(start_s - end_s) > slack_s:
            raise UnfitError("its times have gaps, or fall")
        if packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change"):
            raise UnfitError("its parameters change")
        if (found := _kind(packet, stream)) is not None:
            if kind is not None and found != kind:
                raise UnfitError("its parameters change")
            kind = found
        end_s = start_s + length_s
        yield packet


def _kind(packet: Packet[AudioStream], stream: AudioStream) -> tuple[int, ...] | None:
    """The fields on rate and channels in a packet's own header; None for codecs whose packets have no header."""
    head = bytes(memoryview(packet)[:7])
    if len(head) < 7:
        return None
    codec = stream.codec_context.codec.canonical_name
    if codec == "aac" and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: profile, rate, channels
        return head[2] & 0xFD, head[3] & 0xC0
    if codec == "mp3" and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # version and layer, rate, whether mono
        return head[1] & 0xFE, head[2] & 0x0C, int(head[3] >> 6 == 3)
    if codec == "ac3" and head[:2] == b"\x0b\x77":  # rate, version, channels
        return head[4] & 0xC0, head[5] & 0xF8, head[6] & 0xE0
    if codec == "eac3" and head[:2] == b"\x0b\x77" and head[2] >> 6 != 1:  # rate and channels, except in dependent streams
        return (head[4] & 0xCF,)
    return None


def _check_decodes(packets: list[Packet[AudioStream]], stream: AudioStream) -> None:
    """Decode some packets.

    Raises:
        UnfitError: none decodes, or their rate and channels are not those of the track's header.
    """
    context = stream.codec_context
    claimed = context.sample_rate, context.channels
    frames = list[AudioFrame]()
    for packet in packets:
        with suppress(av.error.FFmpegError):
            frames += packet.decode()
    if not frames:
        raise UnfitError("it cannot be decoded")
    if any((frame.sample_rate, frame.layout.nb_channels) != claimed for frame in frames):
        raise UnfitError("its parameters are not those of its header")


def _shift_times(track: Packets, stream: AudioStream, start_s: float, coverage: Coverage) -> Packets:
    """The packets with times from the start of the stretch on; what is copied counts as kept, damaged or not."""
    for packet in track:
        packet.pts = packet.dts = (packet.pts or 0) - round(start_s / packet.time_base)
        packet.stream = stream
        coverage.kept_s = coverage.source_s
        yield packet


def _encode(found: Packets, stream: AudioStream, stretch: Stretch, out: OutputContainer, coverage: Coverage) -> Packets:
    decoded = _decode(found, stream, stretch, coverage)
    early = list[AudioFrame]()
    for frame in decoded:
        early.append(frame)
        if frame.time is not None and frame.time + frame.samples / frame.sample_rate > stretch.start_s:
            break
    if not early:
        if coverage.num_packets:  # whose durations may be wrong too
            coverage.source_s = max(coverage.source_s, _stated_s(stream, stretch))
        return iter(())
    shape = _shape(early[-1])
    encoder = out.add_stream("aac", rate=shape.rate, layout=shape.layout)
    laid_out = samples.lay_out(chain(early, decoded), shape, stretch.start_s, stretch.end_s)
    return _encode_samples(_chunks(laid_out), encoder, shape)


def _shape(frame: AudioFrame) -> Shape:
    rate = min(AAC_RATES_HZ, key=lambda hz: (abs(hz - frame.sample_rate), -hz))
    return Shape(rate, "stereo" if frame.layout.nb_channels > 1 else "mono")


def _decode(found: Packets, stream: AudioStream, stretch: Stretch, coverage: Coverage) -> Iterator[AudioFrame]:
    end_s = reached_s = -math.inf
    for frame in _frames(found, stream):
        start_s = frame.time if frame.time is not None else end_s
        end_s = start_s + frame.samples / (frame.sample_rate or 1)
        follows = start_s <= reached_s + samples.TOLERANCE_S
        coverage.kept_s += _overlap_s(reached_s if follows else start_s, end_s, stretch)
        reached_s = max(reached_s, end_s)
        yield frame


def _frames(found: Packets, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in found:
        try:
            yield from packet.decode()
        except av.error.FFmpegError:  # a damaged packet becomes silence
            continue
    try:
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError:  # the decoder held no frames
        return


def _encode_samples(chunks: Iterator[Samples], encoder: AudioStream, shape: Shape) -> Packets:
    number = 0
    for chunk in chunks:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout=shape.layout)
        frame.sample_rate, frame.pts, frame.time_base = shape.rate, number, Fraction(1, shape.rate)
        number += chunk.shape[1]
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _chunks(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """The same samples in arrays of AAC_FRAME samples; the last may be shorter."""
    pending = list[Samples]()
    number = 0
    for piece in pieces:
        pending.append(piece)
        number += piece.shape[1]
        if number < AAC_FRAME:
            continue
        joined = np.concatenate(pending, axis=1)
        whole = number - number % AAC_FRAME
        for start in range(0, whole, AAC_FRAME):
            yield joined[:, start : start + AAC_FRAME]
        pending, number = [joined[:, whole:]], number - whole
    if number:
        yield np.concatenate(pending, axis=1)
