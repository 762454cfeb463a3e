"""Cut a span without decoding: its packets from a key frame on, and whether they are exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, takewhile
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.demux.demuxer import Video, packets_from, skip_other_streams
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S as TOLERANCE_S
from udfs.video.mux import Picture

REORDER_S = 1.0  # no B-frame lies further from where it is shown
MAX_KEPT_BYTES = 128 << 20  # packets of a cut with more bytes are read from the file again
HOLDABLE = {"h264", "hevc", "av1", "vp9", "mpeg4"}  # what mp4 may hold and players look for there


@dataclass(frozen=True)
class Cut:
    """Which packets are copied, and what they show.

    B-frames come behind the later frame that they are made from: a copy that ends on one holds that
    later frame as well, and those between, and is not exact. Frames of an open GOP that come behind
    the key frame and are shown before it are left out.
    """

    from_s: float  # where a seek aims to find the packets
    first: int  # packet, counted from where the seek leads
    pts: tuple[int, ...]  # of the copied packets, in their order
    durations: tuple[int, ...]
    dropped: frozenset[int]  # packets after `first` that are left out
    start_s: float  # seconds after the first shown frame of the video
    end_s: float
    exact: bool  # the first and the last frame are the asked ones
    corrupt: int  # packets flagged as damaged
    kept: list[Packet[VideoStream]] | None  # the copied packets, unless they are too large


class _Seen(NamedTuple):
    at_s: float
    pts: int
    is_key: bool
    duration: int
    is_corrupt: bool
    is_hidden: bool  # by an edit list
    packet: Packet[VideoStream] | None  # None if those seen so far are too large to be kept


def find(video: Video, start_s: float, end_s: float, reach_s: float) -> Cut:
    """The packets from the last key frame at or before `start_s` to the last frame before `end_s`.

    They are found by demuxing alone.

    Raises:
        MediaError: UNSUPPORTED if an mp4 cannot hold the codec, packets have no times, or there is
            no key frame in the `reach_s` before the start; CORRUPT if there are no packets.
    """
    codec = video.stream.codec_context.codec.canonical_name
    if codec not in HOLDABLE:
        raise MediaError("UNSUPPORTED", f"no stream copy of {codec} into mp4")
    from_s, seen = _seen_from_key(video, start_s, end_s, reach_s)
    asked = [s.at_s for s in seen if not s.is_hidden and start_s - TOLERANCE_S <= s.at_s < end_s - TOLERANCE_S]
    if not asked:
        raise MediaError("CORRUPT", "no packet of this span")
    until_s = min(asked) + TOLERANCE_S
    keys = [i for i, s in enumerate(seen) if s.is_key and not s.is_hidden and start_s - reach_s <= s.at_s <= until_s]
    if not keys:
        raise MediaError("UNSUPPORTED", f"no key frame in the {reach_s:g} s before {start_s:.3f} s to begin a copy at")
    first = keys[-1]
    # The copy ends before the first packet that an edit list hides: later frames may refer to it.
    run = list(takewhile(lambda s: not s.is_hidden, seen[first : _last(seen, first, end_s) + 1]))
    taken = [s for s in run if s.pts >= run[0].pts]
    final = max(taken, key=lambda s: s.pts)
    return Cut(
        from_s=from_s,
        first=first,
        pts=tuple(s.pts for s in taken),
        durations=tuple(s.duration for s in taken),
        dropped=frozenset(i for i, s in enumerate(run) if s.pts < run[0].pts),
        start_s=run[0].at_s,
        end_s=final.at_s + max(1, final.duration) * float(video.stream.time_base or 0),
        exact=run[0].at_s >= min(asked) - TOLERANCE_S and final.at_s < end_s - TOLERANCE_S,
        corrupt=sum(s.is_corrupt for s in taken),
        kept=None if taken[-1].packet is None else [s.packet for s in taken if s.packet],
    )


def _seen_from_key(video: Video, start_s: float, end_s: float, reach_s: float) -> tuple[float, list[_Seen]]:
    """Where a seek aims, and the packets that it leads to, from a key frame at or before `start_s` on.

    The nearest key frame is enough, but only an index leads to it: else all packets in reach are
    read.
    """
    from_s = start_s + TOLERANCE_S
    if start_s > 0 and not video.has_own_clock and (seen := _seen(video, from_s, end_s)):
        first = seen[0]
        if first.is_key and not first.is_hidden and start_s - reach_s <= first.at_s <= from_s:
            return from_s, seen
    return start_s - reach_s, _seen(video, start_s - reach_s, end_s)


def _last(seen: list[_Seen], first: int, end_s: float) -> int:
    """The packet up to which no frame is missing between the first and the last shown one."""
    last = max(i for i, s in enumerate(seen) if s.at_s < end_s - TOLERANCE_S)
    latest_pts = max(s.pts for s in seen[first : last + 1])
    while behind := [i for i in range(last + 1, len(seen)) if seen[i].pts <= latest_pts]:
        latest_pts = max(latest_pts, *(s.pts for s in seen[last + 1 : behind[-1] + 1]))
        last = behind[-1]
    return last


def check(cut: Cut, expected: int, limits: Limits) -> None:
    """Raise MediaError CORRUPT or PARTIAL where too many of the expected packets are damaged or missing."""
    Tally(frames=len(cut.pts), corrupt=cut.corrupt).check(expected, limits)


def picture(video: Video, cut: Cut) -> Picture:
    """The packets of a cut that `find` made of the same open video."""

    @contextmanager
    def copied() -> Iterator[tuple[VideoStream, Iterator[Packet[VideoStream]]]]:
        yield video.stream, _shifted(_packets_read_again(video, cut) if cut.kept is None else cut.kept, cut, video)

    return copied


def _packets_read_again(video: Video, cut: Cut) -> Iterator[Packet[VideoStream]]:
    demuxed = _nonempty_packets(video, cut.from_s)
    run = islice(demuxed, cut.first, cut.first + len(cut.pts) + len(cut.dropped))
    return (packet for i, packet in enumerate(run) if i not in cut.dropped)


def _shifted(packets: Iterable[Packet[VideoStream]], cut: Cut, video: Video) -> Iterator[Packet[VideoStream]]:
    """Times from 0 on; decoding times follow from the shown ones, since containers may lack them.

    The packets may have been written before, which gave them other times.
    """
    rising, base = sorted(cut.pts), video.stream.time_base or Fraction(1)
    delay = max(a - b for a, b in zip(rising, cut.pts, strict=True))
    for packet, pts, dts, duration in zip(packets, cut.pts, rising, cut.durations, strict=True):
        packet.pts, packet.dts, packet.duration = pts - rising[0], dts - delay - rising[0], duration
        packet.time_base = base
        yield packet


def _seen(video: Video, from_s: float, end_s: float) -> list[_Seen]:
    num, den = (video.stream.time_base or Fraction(1)).as_integer_ratio()
    zero_s, has_no_times = video.start_s, video.shows_by_decode_time
    seen, num_bytes = list[_Seen](), 0
    skip_other_streams(video, video.stream)
    for packet in _nonempty_packets(video, from_s):
        pts, dts = packet.pts, packet.dts
        if pts is None or has_no_times:
            raise MediaError("UNSUPPORTED", "no stream copy of packets that do not say when they are shown")
        if dts is not None and dts * num / den - zero_s >= end_s + REORDER_S:
            break
        at_s = pts * num / den - zero_s
        num_bytes += packet.size
        if num_bytes > MAX_KEPT_BYTES and seen and seen[-1].packet is not None:
            seen = [s._replace(packet=None) for s in seen]
        kept = packet if num_bytes <= MAX_KEPT_BYTES else None
        flags = packet.is_corrupt, packet.is_discard
        seen.append(_Seen(at_s, pts, packet.is_keyframe, packet.duration or 0, *flags, kept))
    return seen


def _nonempty_packets(video: Video, from_s: float) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in packets_from(video, from_s) if packet.size)
