"""An open video file: its facts, its packets with continuous time stamps, and seeking."""

from __future__ import annotations

import math
import resource
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
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.core.limits import Tally
from udfs.demux.timeline import Timing

CLOCKED = ("mpegts", "mpeg", "flv", "live_flv", "asf")  # formats whose time stamps are a recorder's clock
# Formats without an index: seek to their beginning by byte offset.
BYTE_SEEKABLE = ("mpegts", "mpeg", "flv", "live_flv")


@dataclass
class Video:
    """An open container, the video stream that is read from it, and a tally of what was decoded."""

    container: InputContainer
    stream: VideoStream
    tally: Tally = field(default_factory=Tally)
    timing: Timing = field(default_factory=Timing)
    num_shown_packets: int = 0  # packets decoded so far whose frames are shown
    num_hidden_packets: int = 0  # packets decoded so far whose frames an edit list hides
    # Time and duration in ticks of each packet in `num_shown_packets`; None: not recorded.
    shown_packets: list[tuple[int, int]] | None = None
    # When each packet that could not be decoded would be shown, in s on the container's clock, NaN if not known; None:
    # not recorded.
    refused_s: list[float] | None = None
    is_read: bool = False  # packets have been read: the first ones come again only after a rewind
    first_frame_s: float | None = None  # the time stamp of the first shown frame, once it has been decoded
    is_on_gpu: bool = False  # a GPU may decode: the first damage is an error, as the CPU is to decide what it means

    @property
    def framerate(self) -> Fraction:
        """Frames per second: as measured, else as the container states, else 25."""
        return self.timing.framerate or self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def duration_s(self) -> float:
        """Seconds from the first shown frame to the end of the last, as the container states.

        It is 0 if the container states none.
        """
        if self.stream.duration is not None and self.stream.time_base is not None:
            return float(self.stream.duration * self.stream.time_base)
        if self.container.duration is None:
            return 0.0
        return max(0.0, self.container.duration / av.time_base - self.start_s)

    @property
    def start_s(self) -> float:
        """The time of the first shown frame in s on the container's clock.

        Until that frame is decoded, it is the header's value.
        """
        if self.first_frame_s is not None and not self.shows_by_decode_time:
            return self.first_frame_s
        if self.timing.start_s is not None and not self.shows_by_decode_time:
            return self.timing.start_s
        if self.stream.start_time is None or self.stream.time_base is None:
            return 0.0
        return float(self.stream.start_time * self.stream.time_base)

    @property
    def num_expected_frames(self) -> int:
        """The number of frames by the packets decoded so far, or by the index of an mp4."""
        stated = self.stream.frames if self.is_indexed and not self.num_hidden_packets else 0
        return max(stated, self.num_shown_packets)

    @property
    def has_own_clock(self) -> bool:
        """Whether the time stamps are a recorder's clock, which may wrap, restart or jump."""
        return self.container.format.name in CLOCKED

    @property
    def is_indexed(self) -> bool:
        """Whether the container is of the mp4 family, whose index has the times of all packets."""
        return self.container.format.name.startswith("mov")

    @property
    def shows_by_decode_time(self) -> bool:
        """Whether frames are shown at their decoding times: AVI has no presentation times."""
        return self.container.format.name == "avi"

    def count_refused(self, packet: Packet[VideoStream] | None) -> None:
        """Count a packet that could not be decoded; None for what could not be read."""
        self.tally.errors += 1
        if self.refused_s is None:
            return
        stamp = None if packet is None else packet.dts if self.shows_by_decode_time else packet.pts
        base = 0 if packet is None else packet.time_base
        self.refused_s.append(math.nan if stamp is None else float(stamp * base))

    def forget_refused(self, num_kept: int) -> None:
        """Count only the first of them."""
        if self.refused_s is not None:
            del self.refused_s[len(self.refused_s) - (self.tally.errors - num_kept) :]
        self.tally.errors = num_kept

    def frame_time_s(self, frame: VideoFrame) -> float | None:
        """When a frame is shown, in seconds after the first shown frame.

        It is None if it has no time stamp.
        """
        stamp, base = frame.dts if self.shows_by_decode_time else frame.pts, self.stream.time_base
        return None if stamp is None or base is None else float(stamp * base) - (self.first_frame_s or 0.0)


def packets(video: Video) -> Iterator[Packet[VideoStream]]:
    """The packets of the video stream; an empty last one makes the decoder return its last frames.

    Their times are continuous: breaks of the clock and stray times, as `video.timing` has them, are
    taken out. If there are breaks, the container must be at its first packet.

    Raises:
        MediaError: OOM for a packet over the memory limit.
    """
    demuxed = cast("Iterator[Packet[VideoStream]]", demux(video, video.stream))
    if video.timing.reorder_s is not None:
        demuxed = _without_strays(demuxed, video.timing.reorder_s)
    return _without_breaks(demuxed, video) if video.timing.breaks else demuxed


def _without_strays(demuxed: Iterator[Packet[VideoStream]], reorder_s: float) -> Iterator[Packet[VideoStream]]:
    """Packets with stray times replaced; a stray is over `reorder_s` from the decoding time.

    It is replaced by the decoding time plus the delay of the packet before.
    """
    usual = 0
    for packet in demuxed:
        if packet.pts is not None and packet.dts is not None:
            if abs(float((packet.pts - packet.dts) * packet.time_base)) <= reorder_s:
                usual = packet.pts - packet.dts
            else:
                packet.pts = packet.dts + usual
        yield packet


def _without_breaks(demuxed: Iterator[Packet[VideoStream]], video: Video) -> Iterator[Packet[VideoStream]]:
    """All packets of a video, with the breaks of its clock taken out of their times."""
    number, shift, left = 0, 0, list(video.timing.breaks[::-1])
    for packet in demuxed:
        if packet.size:
            while left and left[-1].packet <= number:
                shift = round(left.pop().shift_s / (packet.time_base or 1))
            number += 1
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        yield packet


def skip_other_streams(video: Video, *streams: VideoStream | AudioStream) -> None:
    """Read no data of the other streams of an mp4 from now on, until this is called again.

    Its index says where each packet is; other containers have to be read all the same.
    """
    if video.is_indexed:
        wanted = {stream.index for stream in streams}
        for stream in video.container.streams:
            stream.discard = Discard.default if stream.index in wanted else Discard.all


def memory_fault(what: str, num_bytes: int) -> MediaError:
    """The error for what needs more memory than this process may have, in a file of so many bytes.

    A file that is smaller than this memory states a size that is not there.
    """
    most = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if num_bytes < most or most == resource.RLIM_INFINITY:
        return MediaError("CORRUPT", f"{what} that is larger than the file")
    return MediaError("OOM", f"{what} needs more memory than the limit")


def demux(video: Video, *streams: VideoStream | AudioStream) -> Iterator[Packet[Any]]:
    """Read the packets of some streams; an empty one comes at the end, or where reading fails.

    Raises:
        MediaError: OOM or CORRUPT for a packet over the memory limit.
    """
    try:
        while True:
            with suppress(IndexError):  # PyAV raises it at a stream that begins midway: continue after its first packet
                for packet in video.container.demux(*streams):
                    video.is_read = True
                    beat()
                    yield packet
                return
    except av.error.MemoryError as e:
        raise memory_fault("a packet", video.container.size) from e
    except av.error.FFmpegError:
        video.count_refused(None)
        last = cast("Packet[VideoStream]", Packet())
        last.stream, last.time_base = video.stream, video.stream.time_base or last.time_base
        yield last


def packets_from(video: Video, at_s: float) -> Iterator[Packet[VideoStream]]:
    """The packets from a key frame at or before a time (s after the first shown frame) on.

    Without an index (MPEG-TS, FLV) they may begin after that time.

    Raises:
        MediaError: CORRUPT if a video with clock breaks cannot be read again from its beginning.
    """
    if video.timing.breaks:  # no seek works across breaks; reading packets costs a hundredth of decoding them
        rewind(video)
        return _from_key_frame(packets(video), (at_s + video.start_s) / float(video.stream.time_base or 1))
    if at_s <= 0 and video.is_read:
        rewind(video)
    try:
        if at_s > 0:
            stamp = int((at_s + video.start_s) / (video.stream.time_base or 1))
            video.container.seek(stamp, stream=video.stream, backward=True)
    except av.error.FFmpegError:
        video.container.seek(0)
    return packets(video)


def _from_key_frame(demuxed: Iterator[Packet[VideoStream]], stamp: float) -> Iterator[Packet[VideoStream]]:
    """The packets from the last key frame at or before `stamp` (ticks) on."""
    group: list[Packet[VideoStream]] = []
    for packet in demuxed:
        if packet.is_keyframe and packet.pts is not None and packet.pts <= stamp:
            group.clear()
        group.append(packet)
        if packet.dts is not None and packet.dts > stamp:  # later key frames are shown later too
            break
    yield from group
    yield from demuxed


def seek(video: Video, at_s: float) -> bool:
    """Move to a key frame at or before a time (s after the first shown frame); for 0, to the start.

    Returns whether the container allows it. After a seek that fails, its position is undefined.
    """
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
