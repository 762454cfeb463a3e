"""A stretch of a file's sound -> packets for an mp4: copied where mp4 may hold them as they are, encoded as AAC where not."""

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

from udfs import sound_samples, soundtrack
from udfs.media import Video
from udfs.sound_samples import Samples, Shape
from udfs.soundtrack import Packets

Way = Literal["copy", "encode"]

COPYABLE = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_FRAME = 1024  # samples
TRIALS = 5  # packets that are decoded to tell whether a stream can be
LONGEST_COPIED_S = 0.2  # a longer packet reaches too far over either end of the stretch
SLACK_S = 0.002  # containers round the times of packets to ms
LATE_S = 0.05  # a copy that begins later than its picture would need an edit list, which many readers pass over
LEAST_LOSS_S = 0.1


class UnfitError(Exception):
    """This sound cannot be copied into an mp4, or not at all; its text says why."""


@dataclass(frozen=True)
class Stretch:
    """Where the sound of a clip lies, in seconds on the clock of its container, and the language to prefer."""

    start_s: float
    end_s: float
    language: str = ""
    sought: bool = True  # not read from the beginning of the file


@dataclass
class Heard:
    """How much sound the source has in a stretch, and how much of it was taken over."""

    there_s: float = 0.0
    taken_s: float = 0.0
    num_packets: int = 0
    problem: str = "it cannot be decoded"

    @property
    def warning(self) -> str | None:
        """What to tell of lost sound; None if all is there."""
        if self.there_s - self.taken_s <= LEAST_LOSS_S:
            return None
        if self.taken_s <= 0:
            return f"no sound: {self.problem}"
        return f"{self.there_s - self.taken_s:.1f} s of {self.there_s:.1f} s of sound are missing: {self.problem}"


def packets(source: Video, stretch: Stretch, out: OutputContainer, way: Way, heard: Heard) -> Packets:
    """Add a stream to `out` and give its packets, whose time 0 is the start of the stretch; none if there is no sound.

    A copied stretch begins with a packet from before it, which a player decodes and does not play.

    Raises:
        UnfitError: the sound cannot be copied, found out at any packet.
        BehindError: the file has to be read from its beginning.
        FFmpegError: the sound is damaged.
    """
    stream = soundtrack.choose(source.container.streams.audio, stretch.language)
    if stream is None:
        heard.problem = "its track has no decoder"
        measure(source, stretch, heard)
        return iter(())
    soundtrack.name_layout(stream)
    copyable = stream.codec_context.codec.canonical_name in COPYABLE
    if way == "copy" and not copyable:
        raise UnfitError(f"mp4 does not hold {stream.codec_context.codec.canonical_name}")
    found = _within(source, stream, stretch, heard)
    return _copied(found, stream, stretch, out, heard) if way == "copy" else _encoded(found, stream, stretch, out, heard)


def measure(source: Video, stretch: Stretch, heard: Heard) -> None:
    """Find out how much sound there is, where none is taken over."""
    tracks = source.container.streams.audio
    stream = soundtrack.choose(tracks, stretch.language) or next(iter(tracks), None)
    if stream is not None:
        for _ in _within(source, stream, stretch, heard):
            pass


def _within(source: Video, stream: AudioStream, stretch: Stretch, heard: Heard) -> Packets:
    """The track's packets from shortly before the stretch to its end, or to where the file cannot be read on."""
    heard.there_s, heard.taken_s, heard.num_packets = _claimed_s(stream, stretch), 0.0, 0
    from_s = stretch.start_s if stretch.sought else -math.inf
    end_s: float | None = None
    try:
        for packet in soundtrack.timed(soundtrack.demuxed(source, stream, from_s), stream):
            start_s = float((packet.pts or 0) * packet.time_base)
            if end_s is None:
                heard.there_s, end_s = 0.0, stretch.start_s  # what packets say counts more than the header
            if start_s >= stretch.end_s:
                return
            length_s = float((packet.duration or 0) * packet.time_base)
            heard.there_s += 0 if packet.is_discard else _overlap_s(max(start_s, end_s), start_s + length_s, stretch)
            end_s = max(end_s, start_s + length_s)
            if start_s + length_s >= stretch.start_s - soundtrack.RUN_UP_S:
                heard.num_packets += 1
                yield packet
    except av.error.FFmpegError as e:
        heard.there_s += max(0.0, stretch.end_s - (end_s or stretch.end_s))
        heard.problem = f"the file cannot be read on ({e.strerror})"


def _claimed_s(stream: AudioStream, stretch: Stretch) -> float:
    if not stream.duration or stream.start_time is None or stream.time_base is None:
        return 0.0
    start_s = float(stream.start_time * stream.time_base)
    return _overlap_s(start_s, start_s + float(stream.duration * stream.time_base), stretch)


def _overlap_s(start_s: float, end_s: float, stretch: Stretch) -> float:
    return max(0.0, min(end_s, stretch.end_s) - max(start_s, stretch.start_s))


def _copied(found: Packets, stream: AudioStream, stretch: Stretch, out: OutputContainer, heard: Heard) -> Packets:
    wanted = _checked(_with_one_before(found, stretch.start_s), stream, stretch)
    trial = list(islice(wanted, TRIALS))
    if not trial:
        return iter(())
    _try(trial, stream)
    copy = out.add_stream_from_template(stream)
    return _moved(chain(trial, wanted), copy, stretch.start_s, heard)


def _with_one_before(found: Packets, start_s: float) -> Packets:
    """The packets that sound at or after a time, behind the last one that does not."""
    before: Packet[AudioStream] | None = None
    for packet in found:
        if float(((packet.pts or 0) + (packet.duration or 1)) * packet.time_base) > start_s:
            if before is not None:
                yield before
                before = None
            yield packet
        else:
            before = packet


def _checked(wanted: Packets, stream: AudioStream, stretch: Stretch) -> Packets:
    """The packets of a copy, as long as they follow one another and are of one kind.

    Raises:
        UnfitError: they are not.
    """
    end_s: float | None = None
    kind: tuple[int, ...] | None = None
    for packet in wanted:
        start_s = float((packet.pts or 0) * packet.time_base)
        length_s = float((packet.duration or 0) * packet.time_base)
        if not 0 < length_s <= LONGEST_COPIED_S:
            raise UnfitError("its packets are too long, or do not say how long they are")
        if end_s is None and start_s > stretch.start_s + LATE_S:
            raise UnfitError("it begins behind the picture")
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
    """The fields of a packet's own header that say its rate and channels; None for codecs whose packets have none."""
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
    if codec == "eac3" and head[:2] == b"\x0b\x77" and head[2] >> 6 != 1:  # rate and channels, but of a dependent stream
        return (head[4] & 0xCF,)
    return None


def _try(packets: list[Packet[AudioStream]], stream: AudioStream) -> None:
    """Raise UnfitError unless some of the packets decode, to what the track's header says."""
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


def _moved(wanted: Packets, stream: AudioStream, start_s: float, heard: Heard) -> Packets:
    """The packets with times from the start of the stretch on; what is copied is taken over, whatever it holds."""
    for packet in wanted:
        packet.pts = packet.dts = (packet.pts or 0) - round(start_s / packet.time_base)
        packet.stream = stream
        heard.taken_s = heard.there_s
        yield packet


def _encoded(found: Packets, stream: AudioStream, stretch: Stretch, out: OutputContainer, heard: Heard) -> Packets:
    decoded = _decoded(found, stream, stretch, heard)
    early = list[AudioFrame]()
    for frame in decoded:
        early.append(frame)
        if frame.time is not None and frame.time + frame.samples / frame.sample_rate > stretch.start_s:
            break
    if not early:
        if heard.num_packets:  # which are not even cut as they should be
            heard.there_s = max(heard.there_s, _claimed_s(stream, stretch))
        return iter(())
    shape = _shape(early[-1])
    encoder = out.add_stream("aac", rate=shape.rate, layout=shape.layout)
    laid_out = sound_samples.lay_out(chain(early, decoded), shape, stretch.start_s, stretch.end_s)
    return _encoding(_chunks(laid_out), encoder, shape)


def _shape(frame: AudioFrame) -> Shape:
    rate = min(AAC_RATES_HZ, key=lambda hz: (abs(hz - frame.sample_rate), -hz))
    return Shape(rate, "stereo" if frame.layout.nb_channels > 1 else "mono")


def _decoded(found: Packets, stream: AudioStream, stretch: Stretch, heard: Heard) -> Iterator[AudioFrame]:
    end_s = reached_s = -math.inf
    for frame in _frames(found, stream):
        start_s = frame.time if frame.time is not None else end_s
        end_s = start_s + frame.samples / (frame.sample_rate or 1)
        follows = start_s <= reached_s + sound_samples.TOLERANCE_S
        heard.taken_s += _overlap_s(reached_s if follows else start_s, end_s, stretch)
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
    except av.error.FFmpegError:  # nothing was held back
        return


def _encoding(chunks: Iterator[Samples], encoder: AudioStream, shape: Shape) -> Packets:
    number = 0
    for chunk in chunks:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(chunk), format="fltp", layout=shape.layout)
        frame.sample_rate, frame.pts, frame.time_base = shape.rate, number, Fraction(1, shape.rate)
        number += chunk.shape[1]
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _chunks(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """The same samples, as many at a time as the encoder takes."""
    held = list[Samples]()
    number = 0
    for piece in pieces:
        held.append(piece)
        number += piece.shape[1]
        if number < AAC_FRAME:
            continue
        joined = np.concatenate(held, axis=1)
        whole = number - number % AAC_FRAME
        for start in range(0, whole, AAC_FRAME):
            yield joined[:, start : start + AAC_FRAME]
        held, number = [joined[:, whole:]], number - whole
    if number:
        yield np.concatenate(held, axis=1)
