"""The audio track of a file: choose it, read its packets from a time on, and repair their times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from udfs.audio.languages import same_language
from udfs.core.heartbeat import beat
from udfs.demux.demuxer import Video, skip_other_streams

Packets = Iterator["Packet[AudioStream]"]

PREROLL_S = 0.5  # packets are read from so long before the start, for decoders that need earlier packets
MIN_PREROLL_S = 0.1
# How far before the start a seek aims, one attempt after the other: some indexes lead to a place
# after the requested time.
SEEK_BACK_S = (PREROLL_S, 2.0, 15.0, 60.0)
MAX_SEARCH_BACK_S = 10.0  # if a seek leads so far before the start and finds no sound there, there is none before it
RESTART_S = 1.0  # a clock that falls by more than this was restarted
MAX_DURATION_FRAMES = 2.5  # a packet may state so many times its frame's duration: HE-AAC has twice that of its header
NATIVE_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


class SeekError(Exception):
    """No seek leads before the requested time: the file has to be read from its beginning."""


def choose_track(container: InputContainer, picture: VideoStream, language: str = "") -> AudioStream | None:
    """Choose the track that goes with the picture, in the language if there is one; None if none decodes.

    Of several, the default one is chosen, else the first. A transport stream has no default ones, may
    hold several programmes, and orders its tracks by chance: there it is the one that FFmpeg takes for
    the best, of the picture's programme and no audio description.
    """
    decodable = [stream for stream in container.streams.audio if has_decoder(stream)]
    in_language = [stream for stream in decodable if same_language(stream.language or "", language)]
    best = container.streams.best("audio", related=picture) if container.format.name == "mpegts" else None
    for candidates in (in_language, decodable):
        if candidates:
            first = best if best in candidates else candidates[0]
            return next((s for s in candidates if s.disposition & Disposition.default), first)
    return None


def has_decoder(stream: AudioStream) -> bool:
    """Whether FFmpeg has a decoder for a track."""
    context: object | None = stream.codec_context  # None without a decoder, although its type does not say so
    return context is not None


def set_usual_layout(stream: AudioStream) -> None:
    """Give a track the usual layout of its number of channels, before its decoder is opened.

    PyAV frees a layout that lists its channels one by one (as in QuickTime files) at each read of
    it, which crashes the process: https://github.com/PyAV-Org/PyAV/pull/2284. Decoders that take
    their layout from the coded stream are not affected.
    """
    context = stream.codec_context
    if not context.is_open and (channels := context.channels):  # reads the layout, once
        context.layout = NATIVE_LAYOUTS[channels - 1] if channels <= len(NATIVE_LAYOUTS) else f"{channels} channels"


def packets_from(source: Video, stream: AudioStream, start_s: float) -> Packets:
    """The packets of a track from shortly before a time (s, on the container's clock) on, by a seek.

    Raises:
        SeekError: no seek leads to a place before that time, or the packets begin at the first one
            and `source` has been read before: not every format can return to its first packet.
        FFmpegError: reading fails.
    """
    if start_s - PREROLL_S <= _first_s(source):
        if source.is_read:
            raise SeekError("the file has been read before")
        return _track_packets(source, stream)
    # First by the video's index, then by the track's own: a key frame may be far from the sound.
    for index in (None, stream):
        for back_s in SEEK_BACK_S:
            reached_s, first, following = _seek(source, stream, start_s - back_s, index)
            first_s = None if first is None else packet_start_s(first)
            has_no_sound = index is not None and reached_s <= start_s - MAX_SEARCH_BACK_S
            if (first_s is not None and first_s <= start_s - MIN_PREROLL_S) or has_no_sound:
                return following if first is None else chain([first], following)
    raise SeekError("no seek leads to a place before its start")


def packets_from_first(source: Video, stream: AudioStream) -> Packets:
    """All packets of a track of a file that was just opened, without the breaks of the video's clock."""
    return _without_breaks(source, stream) if source.timing.breaks else _track_packets(source, stream)


def _without_breaks(source: Video, stream: AudioStream) -> Packets:
    """The packets of a track, without the breaks of the video's clock.

    Sound and video are only roughly interleaved in a file. Near a break, a packet gets the shift,
    of those before and after the break, that makes it follow the packet before it.
    """
    breaks = source.timing.breaks
    shifts = [0.0, *(b.shift_s for b in breaks)]
    number, segment = 0, 0
    end_s: float | None = None
    for packet in _sound_and_video(source, stream):
        if packet.stream.index != stream.index:
            segment += segment < len(breaks) and breaks[segment].packet <= number
            number += 1
            continue
        at_s = packet_start_s(packet)
        if at_s is None:
            continue
        near = shifts[max(0, segment - 1) : segment + 2]
        expected_s = at_s + near[0] if end_s is None else end_s
        shift_s = min(near, key=lambda shift: abs(at_s + shift - expected_s))
        ticks = round(shift_s / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks
        end_s = at_s + shift_s + float((packet.duration or 0) * packet.time_base)
        yield packet


def packet_start_s(packet: Packet[AudioStream]) -> float | None:
    """When a packet begins, in s on the container's clock; None if it has no time."""
    stamp = _stamp(packet)
    return None if stamp is None else float(stamp * packet.time_base)


def _first_s(source: Video) -> float:
    start = source.container.start_time
    return source.start_s if start is None else min(source.start_s, start / av.time_base)


def _seek(
    source: Video, stream: AudioStream, at_s: float, index: AudioStream | None
) -> tuple[float, Packet[AudioStream] | None, Packets]:
    """Seek to a time by the index of a track; None: of the video.

    Returns the time in s of the earliest packet of sound or video there, the first sound packet
    with a time, and the sound packets after it.

    Raises:
        SeekError: the format allows no seek; the position is undefined then (FLV, MPEG).
    """
    try:
        if index is None:
            source.container.seek(round(at_s * av.time_base), backward=True)
        else:
            source.container.seek(round(at_s / (index.time_base or 1)), backward=True, stream=index)
    except av.error.FFmpegError as e:
        raise SeekError("the format allows no seek") from e
    reached_s = math.inf
    skip_other_streams(source, source.stream, stream)
    following = _sound_and_video(source, stream)
    for packet in following:
        start_s = packet_start_s(packet)
        if start_s is not None:
            reached_s = min(reached_s, start_s)
        if packet.stream.index == stream.index and start_s is not None:
            skip_other_streams(source, stream)
            return reached_s, packet, _track_packets(source, stream)
    return reached_s, None, iter(())


def _track_packets(source: Video, stream: AudioStream) -> Packets:
    return _read(source, stream)


def _sound_and_video(source: Video, stream: AudioStream) -> Packets:
    return _read(source, source.stream, stream)


def _read(source: Video, *streams: VideoStream | AudioStream) -> Packets:
    while True:
        with suppress(IndexError):  # PyAV raises it at a stream that begins midway
            for packet in source.container.demux(*streams):
                source.is_read = True
                beat()
                if packet.size:
                    yield packet  # type: ignore[misc]
            return


def repair_times(packets: Packets, stream: AudioStream) -> Packets:
    """Replace missing and stray times of packets, and continue a clock that was restarted.

    Times that repeat or fall by little stay: samples.py compares several to find the right ones.
    """
    end: int | None = None  # of the packet before
    last: int | None = None
    raw: int | None = None
    shift = 0
    base = float(stream.time_base or 1)
    far = round(RESTART_S / base)
    for packet, following in _packet_pairs(packets):
        stamp, after = _stamp(packet), _stamp(following)
        at = end if stamp is None else stamp + shift
        if at is None:
            continue  # nothing before it has a time
        if packet.is_discard and stamp is not None and stamp in (raw, after):
            packet = _visible_copy(packet)
        raw = stamp
        if (
            stamp is not None
            and after is not None
            and after < stamp - far
            and end is not None
            and after + shift >= end - far
        ):
            at = end  # the time is a stray
        elif last is not None and end is not None and at < last - far:
            shift, at = shift + end - at, end
        packet.pts = packet.dts = at
        packet.duration = _duration(packet, stream, base) or (max(0, after + shift - at) if after is not None else 0)
        last, end = at, at + packet.duration
        yield packet


def _visible_copy(packet: Packet[AudioStream]) -> Packet[AudioStream]:
    """A copy without the discard flag, which FFmpeg sets on a second packet of one time in an mp4."""
    copy = cast("Packet[AudioStream]", Packet(bytes(packet)))
    copy.stream, copy.time_base, copy.duration = packet.stream, packet.time_base, packet.duration
    return copy


def _duration(packet: Packet[AudioStream], stream: AudioStream, base: float) -> int:
    """A packet's duration in ticks of `base` s without the gap after it that an mp4 may include."""
    context, length = stream.codec_context, packet.duration or 0
    if not has_decoder(stream) or not context.frame_size or not context.sample_rate:
        return length
    frame_length = context.frame_size / context.sample_rate / base
    return length if length <= MAX_DURATION_FRAMES * frame_length else round(frame_length)


def _stamp(packet: Packet[AudioStream] | None) -> int | None:
    if packet is None:
        return None
    return packet.pts if packet.pts is not None else packet.dts


def _packet_pairs(packets: Packets) -> Iterator[tuple[Packet[AudioStream], Packet[AudioStream] | None]]:
    """Each packet with the one after it; the last with None."""
    before: Packet[AudioStream] | None = None
    for packet in packets:
        if before is not None:
            yield before, packet
        before = packet
    if before is not None:
        yield before, None
