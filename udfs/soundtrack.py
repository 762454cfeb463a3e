"""The sound track of a container: which one to take, and its packets from a time on, with times that can be used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition

from udfs.beats import beat
from udfs.decoding import Video
from udfs.languages import same_language

Packets = Iterator["Packet[AudioStream]"]

RUN_UP_S = 0.5  # read before the wanted time, for decoders that need what came before
LEAST_RUN_UP_S = 0.1
# How far before the wanted time a seek aims, one try after the other: by some indexes it lands behind it.
SEEK_BACK_S = (RUN_UP_S, 2.0, 15.0, 60.0)
FAR_S = 10.0  # a seek that lands so far before the wanted time and finds no sound before it: there is none
FALL_S = 1.0  # times that fall by more than that belong to a clock that began again
MOST_FRAMES = 2.5  # that a packet of one frame may claim to last: of HE-AAC twice what its header says
NATIVE_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


class BehindError(Exception):
    """No seek leads to before the wanted time: the file has to be read from its beginning."""


def choose(streams: Iterable[AudioStream], language: str = "") -> AudioStream | None:
    """The track to take: one in the language, the default one, the first one; None if no track has a decoder.

    A track in the language comes before the default one, and of several in it the default one comes first.
    """
    decodable = [stream for stream in streams if has_decoder(stream)]
    spoken = [stream for stream in decodable if same_language(stream.language or "", language)]
    for candidates in (spoken, decodable):
        if candidates:
            return next((s for s in candidates if s.disposition & Disposition.default), candidates[0])
    return None


def has_decoder(stream: AudioStream) -> bool:
    """Whether FFmpeg can decode a track."""
    context: object | None = stream.codec_context  # None without one, whatever the type says
    return context is not None


def name_layout(stream: AudioStream) -> None:
    """Give the decoder the usual layout for its number of channels, before it is opened.

    PyAV frees a layout that lists its channels one by one (in QuickTime files) each time it is looked at, and the process
    dies: https://github.com/PyAV-Org/PyAV/pull/2284. Decoders that find their layout in the stream are not affected.
    """
    context = stream.codec_context
    if not context.is_open and (number := context.channels):  # which looks at the layout, once
        context.layout = NATIVE_LAYOUTS[number - 1] if number <= len(NATIVE_LAYOUTS) else f"{number} channels"


def demuxed(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from shortly before a time on the container's clock, or from its first one.

    `source` must have been opened just now: not every format can go back to its first packet.

    Raises:
        BehindError: no seek leads before that time.
        FFmpegError: the file cannot be read on.
    """
    if source.timing.breaks:
        return _unrolled(source, stream, start_s - RUN_UP_S)
    if start_s - RUN_UP_S <= _first_s(source):
        return _read(source, stream)
    # The second time by the track's own index: where pictures are rare, no key frame lies beside the sound.
    for of in (None, stream):
        for back_s in SEEK_BACK_S:
            landed_s, first, following = _sought(source, stream, start_s - back_s, of)
            begins_s = None if first is None else start_of(first)
            is_none_near = of is not None and landed_s <= start_s - FAR_S
            if (begins_s is not None and begins_s <= start_s - LEAST_RUN_UP_S) or is_none_near:
                return following if first is None else chain([first], following)
    raise BehindError("no seek leads before its start")


def _unrolled(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from a time on, on the clock that the breaks of the video's clock are taken out of.

    Sound and picture lie beside each other in a file, and not exactly: of the shifts on both sides of a break, a packet
    gets the one by which it follows the packet before it.
    """
    breaks = source.timing.breaks
    shifts = [0.0, *(b.shift_s for b in breaks)]
    number, segment = 0, 0
    end_s: float | None = None
    for packet in _read_both(source, stream):
        if packet.stream.index != stream.index:
            segment += segment < len(breaks) and breaks[segment].packet <= number
            number += 1
            continue
        at_s = start_of(packet)
        if at_s is None:
            continue
        near = shifts[max(0, segment - 1) : segment + 2]
        expected_s = at_s + near[0] if end_s is None else end_s
        shift_s = min(near, key=lambda shift: abs(at_s + shift - expected_s))
        ticks = round(shift_s / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        end_s = at_s + shift_s + float((packet.duration or 0) * packet.time_base)
        if end_s > start_s:
            yield packet


def start_of(packet: Packet[AudioStream]) -> float | None:
    """When a packet begins, in seconds on the container's clock; None if it has no time."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None else float(stamp * packet.time_base)


def _first_s(source: Video) -> float:
    start = source.container.start_time
    return source.start_s if start is None else min(source.start_s, start / av.time_base)


def _sought(
    source: Video, stream: AudioStream, at_s: float, of: AudioStream | None
) -> tuple[float, Packet[AudioStream] | None, Packets]:
    """Where a seek lands, by the first packet of sound or picture that has a time; the first one of sound; those after it.

    Raises:
        BehindError: the format knows no seek; having tried may have moved to anywhere (FLV, MPEG).
    """
    try:
        if of is None:
            source.container.seek(round(at_s * av.time_base), backward=True)
        else:
            source.container.seek(round(at_s / (of.time_base or 1)), backward=True, stream=of)
    except av.error.FFmpegError as e:
        raise BehindError("the format knows no seek") from e
    landed_s = math.inf
    following = _read_both(source, stream)
    for packet in following:
        start_s = start_of(packet)
        if start_s is not None:
            landed_s = min(landed_s, start_s)
        if packet.stream.index == stream.index and start_s is not None:
            return landed_s, packet, (p for p in following if p.stream.index == stream.index)
    return landed_s, None, iter(())


def _read(source: Video, stream: AudioStream) -> Packets:
    return (packet for packet in _read_both(source, stream) if packet.stream.index == stream.index)


def _read_both(source: Video, stream: AudioStream) -> Packets:
    while True:
        with suppress(IndexError):  # PyAV's answer to another stream that begins midway
            for packet in source.container.demux(source.stream, stream):
                beat()
                if packet.size:
                    yield packet  # type: ignore[misc]
            return


def timed(packets: Packets, stream: AudioStream) -> Packets:
    """The packets with times of showing and durations that can be used: missing and stray ones are replaced.

    Times that repeat, or fall by little, stay: several of them tell what is true (sound_samples.py).
    """
    end: int | None = None  # of the packet before
    last: int | None = None
    raw: int | None = None
    shift = 0
    for packet, following in _with_next(packets):
        stamp, after, far = _stamp(packet), _stamp(following), round(FALL_S / packet.time_base)
        at = end if stamp is None else stamp + shift
        if at is None:
            continue  # nothing before it has a time
        if packet.is_discard and stamp is not None and stamp in (raw, after):
            packet = _shown(packet)
        raw = stamp
        if stamp is not None and after is not None and after < stamp - far and end is not None and after + shift >= end - far:
            at = end  # a stray one
        elif last is not None and end is not None and at < last - far:
            shift, at = shift + end - at, end
        packet.pts = packet.dts = at
        packet.duration = _length(packet, stream) or (max(0, after + shift - at) if after is not None else 0)
        last, end = at, at + packet.duration
        yield packet


def _shown(packet: Packet[AudioStream]) -> Packet[AudioStream]:
    """The packet without its flag that hides it: FFmpeg hides the second of two that a fragmented mp4 gives one time."""
    shown = cast("Packet[AudioStream]", Packet(bytes(packet)))
    shown.stream, shown.time_base, shown.duration = packet.stream, packet.time_base, packet.duration
    return shown


def _length(packet: Packet[AudioStream], stream: AudioStream) -> int:
    """A packet's duration; in mp4 it may reach over a gap to the next packet."""
    context, length = stream.codec_context, packet.duration or 0
    if not has_decoder(stream) or not context.frame_size or not context.sample_rate:
        return length
    usual = context.frame_size / context.sample_rate / float(packet.time_base)
    return length if length <= MOST_FRAMES * usual else round(usual)


def _stamp(packet: Packet[AudioStream] | None) -> int | None:
    if packet is None:
        return None
    return packet.pts if packet.pts is not None else packet.dts


def _with_next(packets: Packets) -> Iterator[tuple[Packet[AudioStream], Packet[AudioStream] | None]]:
    before: Packet[AudioStream] | None = None
    for packet in packets:
        if before is not None:
            yield before, packet
        before = packet
    if before is not None:
        yield before, None
