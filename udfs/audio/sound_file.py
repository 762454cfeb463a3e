"""A file whose sound several clips take: opened once, and where no seek works, read once from its beginning."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from fractions import Fraction
from typing import NamedTuple

import av.error
from av.audio.stream import AudioStream
from av.packet import Packet

from udfs.audio import soundtrack
from udfs.audio.soundtrack import Packets, SeekError
from udfs.demux.demuxer import Video

MAX_KEPT_BYTES = 128 << 20  # packets that are kept for the next clip, or for a second attempt at the same one

OpenVideo = Callable[[], AbstractContextManager[Video]]


class SoundFile:
    """The sound of a file for the clips of one unit of work, of which each begins after the one before."""

    def __init__(self, open_video: OpenVideo) -> None:
        self._open_video = open_video
        self._files, self._pass_files, self._decoders = ExitStack(), ExitStack(), ExitStack()
        self._video: Video | None = None
        self._pass: _Pass | None = None

    @property
    def video(self) -> Video:
        """The open file. Its position is where the clip before left it."""
        if self._video is None:
            self._video = self._files.enter_context(self._open_video())
        return self._video

    def packets(self, stream: AudioStream, start_s: float) -> Packets:
        """The packets of a track from shortly before a time (s, on the container's clock) on, with repaired times.

        They are found by a seek. Without an index, or across breaks of the clock, all packets before
        them are read, but only once for all clips.

        Raises:
            FFmpegError: reading fails.
        """
        if not self.video.timing.breaks:
            with suppress(SeekError):
                return soundtrack.repair_times(soundtrack.packets_from(self.video, stream, start_s), stream)
        start_s -= soundtrack.PREROLL_S
        if self._pass is None or not self._pass.serves(stream, start_s):
            self._pass_files.close()
            self._pass = _Pass(self._pass_files.enter_context(self._open_video()), stream.index)
        return self._pass.packets(start_s)

    def new_decoder(self, stream: AudioStream) -> AudioStream:
        """The same track with a decoder that has decoded nothing: what it gives depends on this clip alone."""
        self._decoders.close()
        container = self._decoders.enter_context(self._open_video()).container
        decoder = next(track for track in container.streams.audio if track.index == stream.index)
        soundtrack.set_usual_layout(decoder)
        return decoder

    def close(self) -> None:
        """Close the file; it is opened again where more is asked of it."""
        for files in (self._files, self._pass_files, self._decoders):
            files.close()
        self._video = self._pass = None


class _Kept(NamedTuple):
    """A packet, and what is set again where it is given a second time: writing it changes these."""

    packet: Packet[AudioStream]
    pts: int
    duration: int
    end_s: float


class _Pass:
    """One pass over a track from its first packet, for starts that rise."""

    def __init__(self, source: Video, index: int) -> None:
        track = next(stream for stream in source.container.streams.audio if stream.index == index)
        self._track, self._base = track, track.time_base or Fraction(1)
        self._unread = soundtrack.repair_times(soundtrack.packets_from_first(source, track), track)
        self._kept: list[_Kept] = []
        self._num_dropped, self._num_bytes, self._dropped_end_s = 0, 0, -math.inf
        self._error: av.error.FFmpegError | None = None  # by which reading ended

    def serves(self, stream: AudioStream, start_s: float) -> bool:
        """Whether all packets of a track that end at or after a time can still be had."""
        return stream.index == self._track.index and start_s > self._dropped_end_s

    def packets(self, start_s: float) -> Packets:
        """The packets that end at or after a time, and one before them."""
        self._drop(start_s)
        with suppress(av.error.FFmpegError):  # raised again behind the packets before it
            while (not self._kept or self._kept[-1].end_s < start_s) and self._read():
                self._drop(start_s)
        number = self._num_dropped
        while number < self._num_dropped + len(self._kept) or self._read():
            kept = self._kept[number - self._num_dropped]
            number += 1
            packet = kept.packet
            packet.stream, packet.time_base = self._track, self._base
            packet.pts = packet.dts = kept.pts
            packet.duration = kept.duration
            yield packet

    def _read(self) -> bool:
        """Keep the next packet; whether there is one."""
        if self._error is not None:
            raise self._error
        try:
            packet = next(self._unread, None)
        except av.error.FFmpegError as e:
            self._error = e
            raise
        if packet is None:
            return False
        pts, duration = packet.pts or 0, packet.duration or 0
        self._kept.append(_Kept(packet, pts, duration, float((pts + duration) * self._base)))
        self._num_bytes += packet.size
        if self._num_bytes > MAX_KEPT_BYTES:
            self._drop_first(len(self._kept) // 2)
        return True

    def _drop(self, start_s: float) -> None:
        """Drop the packets that end before a time, but for the last one."""
        number = 0
        while number + 1 < len(self._kept) and self._kept[number + 1].end_s < start_s:
            number += 1
        self._drop_first(number)

    def _drop_first(self, number: int) -> None:
        for kept in self._kept[:number]:
            self._num_bytes -= kept.packet.size
            self._dropped_end_s = max(self._dropped_end_s, kept.end_s)
        del self._kept[:number]
        self._num_dropped += number
