"""The sound track of a container: which one to take, and its packets from a time on, with times that can be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

import av
import av.error
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition

from udfs.decoding import rewind
from udfs.languages import same_language
from udfs.media import Video

Packets = Iterator["Packet[AudioStream]"]

RUN_UP_S = 0.5  # read before the wanted time, for decoders that need what came before
LEAST_RUN_UP_S = 0.1
# How far before the wanted time a seek aims, one try after the other: by some indexes it lands behind it.
SEEK_BACK_S = (RUN_UP_S, 2.0, 15.0, 60.0)
FAR_S = 10.0  # a seek that lands so far before the wanted time and finds no sound before it: there is none
FALL_S = 1.0  # times that fall by more than that belong to a clock that began again
NATIVE_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


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

    Raises:
        FFmpegError: the file cannot be read on.
    """
    if source.timing.breaks:
        return _unrolled(source, stream, start_s - RUN_UP_S)
    if start_s - RUN_UP_S <= _first_s(source):
        return _from_first(source, stream, start_s)
    # The second time by the track's own index: where pictures are rare, no key frame lies beside the sound.
    for of in (None, stream):
        for back_s in SEEK_BACK_S:
            if not _seek(source, start_s - back_s, of):
                continue
            landed_s, first, following = _landing(source, stream)
            begins_s = None if first is None else start_of(first)
            is_none_near = of is not None and landed_s <= start_s - FAR_S
            if (begins_s is not None and begins_s <= start_s - LEAST_RUN_UP_S) or is_none_near:
                return following if first is None else chain([first], following)
    return _from_first(source, stream, start_s)


def _from_first(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """All packets of a track; its first one may lie before the first key frame, where a seek to the beginning leads."""
    _rewind(source)
    _, first, following = _landing(source, stream)
    begins_s = None if first is None else start_of(first)
    if first is None or begins_s is None or begins_s <= start_s + RUN_UP_S or not _seek(source, _first_s(source), stream):
        return following if first is None else chain([first], following)
    return _read(source, stream)


def _unrolled(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from a time on, on the clock that the breaks of the video's clock are taken out of.

    Sound and picture lie beside each other in a file, and not exactly: of the shifts on both sides of a break, a packet
    gets the one by which it follows the packet before it.
    """
    rewind(source)
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


def _landing(source: Video, stream: AudioStream) -> tuple[float, Packet[AudioStream] | None, Packets]:
    """Where a seek landed, by the first packet of sound or picture that has a time; the first one of sound; those after it."""
    landed_s = float("inf")
    following = _read_both(source, stream)
    for packet in following:
        at_s = start_of(packet)
        if at_s is not None:
            landed_s = min(landed_s, at_s)
        if packet.stream.index == stream.index and at_s is not None:
            return landed_s, packet, (p for p in following if p.stream.index == stream.index)
    return landed_s, None, iter(())


def _read(source: Video, stream: AudioStream) -> Packets:
    return (packet for packet in _read_both(source, stream) if packet.stream.index == stream.index)


def _read_both(source: Video, stream: AudioStream) -> Packets:
    while True:
        with suppress(IndexError):  # PyAV's answer to another stream that begins midway
            yield from (p for p in source.container.demux(source.stream, stream) if p.size)  # type: ignore[misc]
            return


def _seek(source: Video, at_s: float, of: AudioStream | None = None) -> bool:
    try:
        if of is None:
            source.container.seek(round(at_s * av.time_base), backward=True)
        else:
            source.container.seek(round(at_s / (of.time_base or 1)), backward=True, stream=of)
    except av.error.FFmpegError:
        return False
    return True


def _rewind(source: Video) -> None:
    """Go to the first packet; a clock that wraps begins below 0, where a seek to 0 is one into the middle."""
    if not _seek(source, _first_s(source)):
        _seek(source, 0.0)


def timed(packets: Packets) -> Packets:
    """The packets with times of showing that can be used: missing, repeated and stray ones are replaced.

    Small steps back stay: there the track says twice what sounds.
    """
    end: int | None = None  # of the packet before
    last: int | None = None
    shift = 0
    for packet, following in _with_next(packets):
        stamp, after = _stamp(packet), _stamp(following)
        length = packet.duration or 0
        if stamp is not None:
            stamp += shift
        after = None if after is None else after + shift
        if stamp is not None and last is not None and stamp < last - FALL_S / packet.time_base:
            shift += (end or last) - stamp
            stamp, after = end, None
        at = _risen(stamp, after, length, last, end)
        if at is None:
            continue  # nothing before it has a time
        if not length and after is not None and after > at:
            length = after - at
        packet.pts = packet.dts = at
        last, end = at, at + length
        yield packet


def _risen(stamp: int | None, after: int | None, length: int, last: int | None, end: int | None) -> int | None:
    """The time of a packet by its stamp, that of the packet after it, and the packet before it."""
    if stamp is None:
        return end
    if after is not None and after <= stamp:  # one of the two is wrong
        fitting = after - length
        if last is None or fitting > last:
            return fitting
    return end if stamp == last else stamp


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
