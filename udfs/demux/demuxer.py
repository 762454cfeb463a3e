"""An open video: its packets, in the order of decoding, with breaks of the clock taken out, and seeks among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.core.limits import Tally
from udfs.demux.timeline import Timing

CLOCKED = ("mpegts", "mpeg", "flv", "live_flv", "asf")  # formats whose time stamps are a recorder's clock
BYTE_SEEKABLE = ("mpegts", "mpeg", "flv", "live_flv")  # formats without an index, whose beginning is sought by its offset


@dataclass
class Video:
    """An open container with the one video stream that counts, and the tally of what was decoded from it."""

    container: InputContainer
    stream: VideoStream
    tally: Tally = field(default_factory=Tally)
    timing: Timing = field(default_factory=Timing)
    num_shown: int = 0  # packets decoded so far whose frames are shown
    num_hidden: int = 0  # packets decoded so far whose frames an edit list hides
    decoded: list[tuple[int, int]] | None = None  # time and duration of each packet in `num_shown`, in ticks; None: not recorded
    is_read: bool = False  # whether packets have been read, so that the first ones come only after a rewind
    zero_s: float | None = None  # the time stamp of the first shown frame, once it has been decoded

    @property
    def framerate(self) -> Fraction:
        """Frames per second: as measured, else as the container says, else 25."""
        return self.timing.framerate or self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def duration_s(self) -> float:
        """Seconds from the first shown frame to the end of the last, as the container states them; 0 if it does not."""
        if self.stream.duration is not None and self.stream.time_base is not None:
            return float(self.stream.duration * self.stream.time_base)
        if self.container.duration is None:
            return 0.0
        return max(0.0, self.container.duration / av.time_base - self.start_s)

    @property
    def start_s(self) -> float:
        """The time of the first shown frame on the container's own clock; until one is decoded, what the header says."""
        if self.zero_s is not None and not self.shows_by_decode_time:
            return self.zero_s
        if self.timing.start_s is not None and not self.shows_by_decode_time:
            return self.timing.start_s
        if self.stream.start_time is None or self.stream.time_base is None:
            return 0.0
        return float(self.stream.start_time * self.stream.time_base)

    @property
    def num_promised(self) -> int:
        """Frames to expect by the packets decoded so far, or by the index of an mp4 that hides no frame."""
        stated = self.stream.frames if self.is_indexed and not self.num_hidden else 0
        return max(stated, self.num_shown)

    @property
    def has_own_clock(self) -> bool:
        """Whether time stamps are a recorder's clock, which may wrap, restart or jump."""
        return self.container.format.name in CLOCKED

    @property
    def is_indexed(self) -> bool:
        """Whether the container is of the mp4 family, whose index has the times of all packets."""
        return self.container.format.name.startswith("mov")

    @property
    def shows_by_decode_time(self) -> bool:
        """Whether the container holds no time of showing, so that what FFmpeg guesses is wrong around B-frames."""
        return self.container.format.name == "avi"

    def shown_s(self, frame: VideoFrame) -> float | None:
        """When a frame is shown, in seconds after the first one; None if its time stamp is missing."""
        stamp, base = frame.dts if self.shows_by_decode_time else frame.pts, self.stream.time_base
        return None if stamp is None or base is None else float(stamp * base) - (self.zero_s or 0.0)


def packets(video: Video) -> Iterator[Packet[VideoStream]]:
    """The packets, and an empty one at the end or where reading fails, at which the decoder gives its last frames.

    If the clock has breaks, reading must begin at the first packet; the breaks are then taken out
    of the packets' times.
    """
    demuxed = cast("Iterator[Packet[VideoStream]]", demux(video, video.stream))
    if video.timing.reorder_s is not None:
        demuxed = _without_strays(demuxed, video.timing.reorder_s)
    return _without_breaks(demuxed, video) if video.timing.breaks else demuxed


def _without_strays(found: Iterator[Packet[VideoStream]], reorder_s: float) -> Iterator[Packet[VideoStream]]:
    """Packets with the times of strays, which lie over `reorder_s` from their decoding times, put beside their neighbors'."""
    usual = 0
    for packet in found:
        if packet.pts is not None and packet.dts is not None:
            if abs(float((packet.pts - packet.dts) * packet.time_base)) <= reorder_s:
                usual = packet.pts - packet.dts
            else:
                packet.pts = packet.dts + usual
        yield packet


def _without_breaks(found: Iterator[Packet[VideoStream]], video: Video) -> Iterator[Packet[VideoStream]]:
    """All packets of a video, with the breaks of its clock taken out of their times."""
    number, shift, left = 0, 0, list(video.timing.breaks[::-1])
    for packet in found:
        if packet.size:
            while left and left[-1].packet <= number:
                shift = round(left.pop().shift_s / (packet.time_base or 1))
            number += 1
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        yield packet


def demux(video: Video, *streams: VideoStream | AudioStream) -> Iterator[Packet[Any]]:
    """Read the packets of some streams, and an empty one of the video's at the end or where reading fails.

    Raises:
        MediaError: OOM for a packet over the memory limit.
    """
    try:
        while True:
            with suppress(IndexError):  # PyAV's answer to another stream that begins midway: go on behind its first packet
                for packet in video.container.demux(*streams):
                    video.is_read = True
                    beat()
                    yield packet
                return
    except av.error.MemoryError as e:
        raise MediaError("OOM", "a packet asks for more memory than the limit") from e
    except av.error.FFmpegError:
        video.tally.errors += 1
        last = cast("Packet[VideoStream]", Packet())
        last.stream, last.time_base = video.stream, video.stream.time_base or last.time_base
        yield last


def packets_from(video: Video, at_s: float) -> Iterator[Packet[VideoStream]]:
    """The packets from a key frame at or before a time on."""
    if video.timing.breaks:  # no seek works across breaks; reading packets costs a hundredth of decoding them
        rewind(video)
        return _from_key(packets(video), (at_s + video.start_s) / float(video.stream.time_base or 1))
    if at_s <= 0 and video.is_read:
        rewind(video)
    try:
        if at_s > 0:
            stamp = int((at_s + video.start_s) / (video.stream.time_base or 1))
            video.container.seek(stamp, stream=video.stream, backward=True)
    except av.error.FFmpegError:
        video.container.seek(0)
    return packets(video)


def _from_key(found: Iterator[Packet[VideoStream]], stamp: float) -> Iterator[Packet[VideoStream]]:
    """The packets from the last key frame at or before `stamp` (ticks) on."""
    group: list[Packet[VideoStream]] = []
    for packet in found:
        if packet.is_keyframe and packet.pts is not None and packet.pts <= stamp:
            group.clear()
        group.append(packet)
        if packet.dts is not None and packet.dts > stamp:  # later key frames are shown later too
            break
    yield from group
    yield from found


def seek(video: Video, at_s: float) -> bool:
    """Move to a key frame before a time after the first shown frame, or to the beginning; whether that was possible."""
    base = video.stream.time_base
    try:
        if at_s <= 0 and video.container.format.name in BYTE_SEEKABLE:
            video.container.seek(0, unsupported_byte_offset=True)  # a seek by time fails on a clock that breaks
        elif base is None or at_s <= 0:
            video.container.seek(0)
        else:
            video.container.seek(int((at_s + video.start_s) / base), stream=video.stream, backward=True)
    except av.error.FFmpegError:
        return False
    return True


def rewind(video: Video) -> None:
    """Move back to the first packet.

    Raises:
        MediaError: CORRUPT if the container allows no seek.
    """
    if not seek(video, 0.0):
        raise MediaError("CORRUPT", "the container cannot be read a second time from its beginning")
