"""Copy a span of sound into an mp4, or encode it as AAC, and measure how much of it is lost."""

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
from udfs.audio.samples import SampleFormat, Samples
from udfs.audio.sound_file import SoundFile
from udfs.audio.soundtrack import Packets

AudioMode = Literal["copy", "encode"]

COPYABLE = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
WITH_HEADERS = {"aac", "mp3", "ac3", "eac3"}  # packets of these may state rate and channels
CHANGES = ("new_extradata", "param_change")  # side data of a packet from which the parameters are others
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_FRAME = 1024  # samples
TRIAL_PACKETS = 5  # packets that are decoded before a copy, to check that the stream decodes
MAX_COPIED_PACKET_S = 0.2  # a longer packet would reach too far beyond the ends of the span
GAP_TOLERANCE_S = 0.002  # containers round the times of packets to ms
MAX_COPY_DELAY_S = 0.05  # a copy that begins later after its picture needs an edit list, which many players ignore
MIN_LOSS_S = 0.1  # a smaller loss gives no warning


class CopyError(Exception):
    """Sound that cannot be copied into an mp4; the text says why."""


@dataclass(frozen=True)
class SoundSpan:
    """The sound that a clip takes from a file."""

    start_s: float  # on the container's clock
    end_s: float
    language: str = ""  # of the preferred track, as a code of ISO 639


@dataclass
class Coverage:
    """How much sound the source has in a span, and how much of it the clip has, in seconds."""

    source_s: float = 0.0
    kept_s: float = 0.0
    num_packets: int = 0  # read from the source
    problem: str = "it cannot be decoded"  # the reason of a loss

    @property
    def warning(self) -> str | None:
        """The text of the column `audio_warning`; None if no sound is lost."""
        if self.source_s - self.kept_s <= MIN_LOSS_S:
            return None
        if self.kept_s <= 0:
            return f"no sound: {self.problem}"
        return f"{self.source_s - self.kept_s:.1f} s of {self.source_s:.1f} s of sound are missing: {self.problem}"


def add_sound(sounds: SoundFile, span: SoundSpan, out: OutputContainer, mode: AudioMode, coverage: Coverage) -> Packets:
    """Add a sound stream to `out` and return its packets, whose time 0 is the start of the span.

    There are no packets, and no stream, if the span has no sound. A copy begins with a packet from
    before the span, which players decode and do not play. `coverage` is complete when all packets
    have been taken. Errors may come with any packet.

    Raises:
        CopyError: the sound cannot be copied.
        FFmpegError: the sound is damaged.
    """
    stream = soundtrack.choose_track(sounds.video.container, sounds.video.stream, span.language)
    if stream is None:
        coverage.problem = "its track has no decoder"
        measure_coverage(sounds, span, coverage)
        return iter(())
    codec = stream.codec_context.codec.canonical_name
    if mode == "copy" and codec not in COPYABLE:
        raise CopyError(f"mp4 does not hold {codec}")
    demuxed = _packets_within(sounds, stream, span, coverage)
    if mode == "copy":
        return _copy_packets(demuxed, stream, span, out, coverage)
    return _encode_packets(demuxed, sounds.new_decoder(stream), span, out, coverage)


def measure_coverage(sounds: SoundFile, span: SoundSpan, coverage: Coverage) -> None:
    """Measure how much sound the span has in the source, without writing any of it."""
    source = sounds.video
    stream = soundtrack.choose_track(source.container, source.stream, span.language)
    stream = stream or next(iter(source.container.streams.audio), None)
    if stream is not None:
        for _ in _packets_within(sounds, stream, span, coverage):
            pass


def _packets_within(sounds: SoundFile, stream: AudioStream, span: SoundSpan, coverage: Coverage) -> Packets:
    """The track's packets from shortly before the span to its end, or to where reading fails.

    Sets `source_s` of the coverage.
    """
    coverage.source_s, coverage.kept_s, coverage.num_packets = _stated_s(stream, span), 0.0, 0
    num, den = _base(stream).as_integer_ratio()
    end_s: float | None = None
    try:
        for packet in sounds.packets(stream, span.start_s):
            start_s = (packet.pts or 0) * num / den
            if end_s is None:
                coverage.source_s, end_s = 0.0, span.start_s  # packets are more reliable than the header
            if start_s >= span.end_s:
                return
            length_s = (packet.duration or 0) * num / den
            until_s = start_s + length_s
            if not packet.is_discard:
                coverage.source_s += _overlap_s(start_s if start_s > end_s else end_s, until_s, span)
            if until_s > end_s:
                end_s = until_s
            if until_s >= span.start_s - soundtrack.PREROLL_S:
                coverage.num_packets += 1
                yield packet
    except av.error.FFmpegError as e:
        coverage.source_s += max(0.0, span.end_s - (span.end_s if end_s is None else end_s))
        coverage.problem = f"the file cannot be read any further ({e.strerror})"


def _base(stream: AudioStream) -> Fraction:
    """The unit of a track's times, in seconds.

    It is read once per track: `packet.time_base` makes a fraction at every read, and multiplying by
    it costs more than all else that is done with a copied packet.
    """
    return stream.time_base or Fraction(1)


def _stated_s(stream: AudioStream, span: SoundSpan) -> float:
    """Seconds of sound in the span by the track's header; 0 if it states no length."""
    if not stream.duration or stream.start_time is None or stream.time_base is None:
        return 0.0
    start_s = float(stream.start_time * stream.time_base)
    return _overlap_s(start_s, start_s + float(stream.duration * stream.time_base), span)


def _overlap_s(start_s: float, end_s: float, span: SoundSpan) -> float:
    start_s = start_s if start_s > span.start_s else span.start_s  # max() takes three times as long
    end_s = end_s if end_s < span.end_s else span.end_s
    return end_s - start_s if end_s > start_s else 0.0


def _copy_packets(
    demuxed: Packets, stream: AudioStream, span: SoundSpan, out: OutputContainer, coverage: Coverage
) -> Packets:
    """Add a stream like the source's to `out` and return its packets."""
    checked = _checked_packets(_packets_after(demuxed, span.start_s, _base(stream)), stream, span)
    trial = list(islice(checked, TRIAL_PACKETS))
    if not trial:
        return iter(())
    track = trial[0].stream
    _check_decodes(trial, track)
    copy = out.add_stream_from_template(track)
    return _shifted_packets(chain(trial, checked), copy, round(span.start_s / _base(stream)), coverage)


def _packets_after(demuxed: Packets, start_s: float, base: Fraction) -> Packets:
    """The packets that end after a time, and the one before them."""
    before: Packet[AudioStream] | None = None
    num, den = base.as_integer_ratio()
    for packet in demuxed:
        if ((packet.pts or 0) + (packet.duration or 1)) * num / den > start_s:
            if before is not None:
                yield before
                before = None
            yield packet
        else:
            before = packet


def _checked_packets(demuxed: Packets, stream: AudioStream, span: SoundSpan) -> Packets:
    """The packets of a copy.

    Raises:
        CopyError: they do not follow one another, or their rate or channels change.
    """
    end_s: float | None = None
    first_fields: tuple[int, ...] | None = None
    base, codec = _base(stream), stream.codec_context.codec.canonical_name
    tolerance_s, (num, den) = GAP_TOLERANCE_S + float(base), base.as_integer_ratio()
    for packet in demuxed:
        start_s = (packet.pts or 0) * num / den
        length_s = (packet.duration or 0) * num / den
        if not 0 < length_s <= MAX_COPIED_PACKET_S:
            raise CopyError("its packets are too long, or do not state their length")
        if end_s is None and start_s > span.start_s + MAX_COPY_DELAY_S:
            raise CopyError("it begins after the picture")
        if packet.is_discard and start_s >= span.start_s:
            raise CopyError("an edit list hides some of it")
        if end_s is not None and abs(start_s - end_s) > tolerance_s:
            raise CopyError("its times have gaps or overlaps")
        if any(data.data_type in CHANGES for data in packet.iter_sidedata()):
            raise CopyError("its parameters change")
        if codec in WITH_HEADERS and (fields := _header_fields(packet, codec)) is not None:
            if first_fields is not None and fields != first_fields:
                raise CopyError("its parameters change")
            first_fields = fields
        end_s = start_s + length_s
        yield packet


def _header_fields(packet: Packet[AudioStream], codec: str) -> tuple[int, ...] | None:
    """The header bits of a packet that state rate and channels.

    It is None for a codec whose packets have no header.
    """
    head = bytes(memoryview(packet)[:7])
    if len(head) < 7:
        return None
    if codec == "aac" and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: profile, rate, channels
        return head[2] & 0xFD, head[3] & 0xC0
    if codec == "mp3" and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # version and layer, rate, whether mono
        return head[1] & 0xFE, head[2] & 0x0C, int(head[3] >> 6 == 3)
    if codec == "ac3" and head[:2] == b"\x0b\x77":  # rate, version, channels
        return head[4] & 0xC0, head[5] & 0xF8, head[6] & 0xE0
    # Rate and channels, except in dependent streams.
    if codec == "eac3" and head[:2] == b"\x0b\x77" and head[2] >> 6 != 1:
        return (head[4] & 0xCF,)
    return None


def _check_decodes(packets: list[Packet[AudioStream]], stream: AudioStream) -> None:
    """Check that packets decode to the rate and channels that the track's header states.

    Raises:
        CopyError: they do not.
    """
    context = stream.codec_context
    soundtrack.set_usual_layout(stream)
    context.flush_buffers()  # it may have decoded packets of an earlier span
    stated = context.sample_rate, context.channels
    frames = list[AudioFrame]()
    for packet in packets:
        with suppress(av.error.FFmpegError):
            frames += packet.decode()
    if not frames:
        raise CopyError("it cannot be decoded")
    if any((frame.sample_rate, frame.layout.nb_channels) != stated for frame in frames):
        raise CopyError("its parameters are not those of its header")


def _shifted_packets(demuxed: Packets, stream: AudioStream, start: int, coverage: Coverage) -> Packets:
    """The packets with times after the start of the span, in ticks.

    All that is copied counts as kept, damaged or not.
    """
    for packet in demuxed:
        packet.pts = packet.dts = (packet.pts or 0) - start
        packet.stream = stream
        coverage.kept_s = coverage.source_s
        yield packet


def _encode_packets(
    demuxed: Packets, stream: AudioStream, span: SoundSpan, out: OutputContainer, coverage: Coverage
) -> Packets:
    """Add an AAC stream to `out` and return its packets."""
    decoded = _decoded_frames(demuxed, stream, span, coverage)
    early = list[AudioFrame]()  # up to the first frame of the span, which decides on rate and layout
    for frame in decoded:
        early.append(frame)
        if frame.time is not None and frame.time + frame.samples / frame.sample_rate > span.start_s:
            break
    if not early:
        if coverage.num_packets:  # the durations of packets that do not decode may be wrong too
            coverage.source_s = max(coverage.source_s, _stated_s(stream, span))
        return iter(())
    target = _sample_format(early[-1])
    encoder = out.add_stream("aac", rate=target.rate_hz, layout=target.layout)
    sound = samples.lay_out_frames(chain(early, decoded), target, span.start_s, span.end_s)
    return _encode_samples(_chunks(sound), encoder, target)


def _sample_format(frame: AudioFrame) -> SampleFormat:
    """The format nearest to a frame's that AAC can encode."""
    rate_hz = min(AAC_RATES_HZ, key=lambda hz: (abs(hz - frame.sample_rate), -hz))
    return SampleFormat(rate_hz, "stereo" if frame.layout.nb_channels > 1 else "mono")


def _decoded_frames(demuxed: Packets, stream: AudioStream, span: SoundSpan, coverage: Coverage) -> Iterator[AudioFrame]:
    """The decoded frames; adds the seconds of them that lie in the span to `kept_s`."""
    end_s = reached_s = -math.inf
    for frame in _frames(demuxed, stream):
        start_s = frame.time if frame.time is not None else end_s
        end_s = start_s + frame.samples / (frame.sample_rate or 1)
        follows = start_s <= reached_s + samples.TOLERANCE_S
        coverage.kept_s += _overlap_s(reached_s if follows else start_s, end_s, span)
        reached_s = max(reached_s, end_s)
        yield frame


def _frames(demuxed: Packets, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in demuxed:
        packet.stream = stream  # whose decoder is asked
        try:
            yield from packet.decode()
        except av.error.FFmpegError:  # a damaged packet becomes silence
            continue
    try:
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError:  # the decoder has no more frames
        return


def _encode_samples(chunks: Iterator[Samples], encoder: AudioStream, target: SampleFormat) -> Packets:
    number = 0
    for chunk in chunks:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout=target.layout)
        frame.sample_rate, frame.pts, frame.time_base = target.rate_hz, number, Fraction(1, target.rate_hz)
        number += chunk.shape[1]
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _chunks(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """The same samples in arrays of AAC_FRAME samples; the last array may be shorter."""
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
