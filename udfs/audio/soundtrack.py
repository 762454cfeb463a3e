"""The sound track of a container: choose it, read its packets from a time on, and repair their times."""

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

from udfs.audio.languages import same_language
from udfs.core.heartbeat import beat
from udfs.demux.demuxer import Video

Packets = Iterator["Packet[AudioStream]"]

RUN_UP_S = 0.5  # read before the wanted time, for decoders that need what came before
LEAST_RUN_UP_S = 0.1
# How far before the wanted time a seek aims, one attempt after the other: by some indexes it lands after that time.
SEEK_BACK_S = (RUN_UP_S, 2.0, 15.0, 60.0)
FAR_S = 10.0  # there is no sound before the wanted time if a seek lands so far before it and finds none
FALL_S = 1.0  # times that fall by more belong to a clock that was restarted
MOST_FRAMES = 2.5  # frame durations that a packet of one frame may state: HE-AAC has twice the duration of its header
NATIVE_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


class SeekError(Exception):
    """No seek leads to a place before the wanted time: the file has to be read from its beginning."""


def choose(streams: Iterable[AudioStream], language: str = "") -> AudioStream | None:
    """The track to take: one in the language, else the default one, else the first; None if no track has a decoder.

    Of several tracks in the language it is the default one, else the first of them.
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
    """Set the usual layout for the number of channels, before the decoder is opened.

    PyAV frees a layout that lists its channels one by one (as in QuickTime files) at each read of
    it, which crashes the process: https://github.com/PyAV-Org/PyAV/pull/2284. Decoders that take
    their layout from the coded stream are not affected.
    """
    context = stream.codec_context
    if not context.is_open and (number := context.channels):  # reads the layout, once
        context.layout = NATIVE_LAYOUTS[number - 1] if number <= len(NATIVE_LAYOUTS) else f"{number} channels"


def packets_from(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from shortly before a time (s, on the container's clock) on, or from the first one.

    `source` must be freshly opened: not every format can return to its first packet.

    Raises:
        SeekError: no seek leads to a place before that time.
        FFmpegError: reading fails.
    """
    if source.timing.breaks:
        return _without_breaks(source, stream, start_s - RUN_UP_S)
    if start_s - RUN_UP_S <= _first_s(source):
        return _track_packets(source, stream)
    # First by the video's index, then by the track's own: where frames are rare, no key frame lies near the sound.
    for of in (None, stream):
        for back_s in SEEK_BACK_S:
            landed_s, first, following = _seek(source, stream, start_s - back_s, of)
            begins_s = None if first is None else start_of(first)
            is_none_near = of is not None and landed_s <= start_s - FAR_S
            if (begins_s is not None and begins_s <= start_s - LEAST_RUN_UP_S) or is_none_near:
                return following if first is None else chain([first], following)
    raise SeekError("no seek leads before its start")


def _without_breaks(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from a time on, with the breaks of the video's clock taken out of their times.

    Sound and video are only roughly interleaved in a file. Near a break, a packet gets the shift of
    that side by which it follows the packet before it.
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


def _seek(
    source: Video, stream: AudioStream, at_s: float, of: AudioStream | None
) -> tuple[float, Packet[AudioStream] | None, Packets]:
    """Seek to a time by the index of a track, None for the video's.

    Gives the time in s of the earliest packet of sound or video there, the first sound packet with
    a time, and the packets after it.

    Raises:
        SeekError: the format allows no seek; the attempt may have moved anywhere (FLV, MPEG).
    """
    try:
        if of is None:
            source.container.seek(round(at_s * av.time_base), backward=True)
        else:
            source.container.seek(round(at_s / (of.time_base or 1)), backward=True, stream=of)
    except av.error.FFmpegError as e:
        raise SeekError("the format allows no seek") from e
    landed_s = math.inf
    following = _read_both(source, stream)
    for packet in following:
        start_s = start_of(packet)
        if start_s is not None:
            landed_s = min(landed_s, start_s)
        if packet.stream.index == stream.index and start_s is not None:
            return landed_s, packet, (p for p in following if p.stream.index == stream.index)
    return landed_s, None, iter(())


def _track_packets(source: Video, stream: AudioStream) -> Packets:
    return (packet for packet in _read_both(source, stream) if packet.stream.index == stream.index)


def _read_both(source: Video, stream: AudioStream) -> Packets:
    while True:
        with suppress(IndexError):  # PyAV's answer to another stream that begins midway
            for packet in source.container.demux(source.stream, stream):
                beat()
                if packet.size:
                    yield packet  # type: ignore[misc]
            return


def repair_times(packets: Packets, stream: AudioStream) -> Packets:
    """Replace missing and stray times and durations of packets.

    Times that repeat or fall by little stay: sound_samples.py compares several to find the right ones.
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
            packet = _visible(packet)
        raw = stamp
        if stamp is not None and after is not None and after < stamp - far and end is not None and after + shift >= end - far:
            at = end  # a stray time
        elif last is not None and end is not None and at < last - far:
            shift, at = shift + end - at, end
        packet.pts = packet.dts = at
        packet.duration = _length(packet, stream) or (max(0, after + shift - at) if after is not None else 0)
        last, end = at, at + packet.duration
        yield packet


def _visible(packet: Packet[AudioStream]) -> Packet[AudioStream]:
    """A copy without the discard flag, which FFmpeg sets on the second of two packets of one time in a fragmented mp4."""
    copy = cast("Packet[AudioStream]", Packet(bytes(packet)))
    copy.stream, copy.time_base, copy.duration = packet.stream, packet.time_base, packet.duration
    return copy


def _length(packet: Packet[AudioStream], stream: AudioStream) -> int:
    """A packet's duration in ticks; that of an mp4, which may include a gap after the packet, is limited to one frame's."""
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
