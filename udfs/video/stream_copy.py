"""Cut a span without decoding: its packets from a key frame on, and whether they are exact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, takewhile

from av.packet import Packet
from av.video.stream import VideoStream

from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.demux.demuxer import Video, packets_from
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S as TOLERANCE_S
from udfs.video.mux import Picture

REORDER_S = 1.0  # no B-frame lies further from where it is shown
HOLDABLE = {"h264", "hevc", "av1", "vp9", "mpeg4"}  # what mp4 may hold and players look for there


@dataclass(frozen=True)
class Cut:
    """Which packets are copied, and what they show.

    B-frames come behind the later frame that they are made from: a copy that ends on one holds that
    later frame as well, and those between, and is not exact. Frames of an open GOP that come behind
    the key frame and are shown before it are left out.
    """

    first: int  # packet, counted from where the seek leads
    pts: tuple[int, ...]  # of the copied packets, in their order
    dropped: frozenset[int]  # packets after `first` that are left out
    start_s: float  # seconds after the first shown frame of the video
    end_s: float
    exact: bool  # the first and the last frame are the asked ones
    corrupt: int  # packets flagged as damaged


@dataclass(frozen=True)
class _Seen:
    at_s: float
    pts: int
    is_key: bool
    duration: int
    is_corrupt: bool
    is_hidden: bool  # by an edit list


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
    seen = _seen(video, start_s - reach_s, end_s)
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
        first=first,
        pts=tuple(s.pts for s in taken),
        dropped=frozenset(i for i, s in enumerate(run) if s.pts < run[0].pts),
        start_s=run[0].at_s,
        end_s=final.at_s + max(1, final.duration) * float(video.stream.time_base or 0),
        exact=run[0].at_s >= min(asked) - TOLERANCE_S and final.at_s < end_s - TOLERANCE_S,
        corrupt=sum(s.is_corrupt for s in taken),
    )


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


def picture(video: Video, cut: Cut, start_s: float, reach_s: float) -> Picture:
    """The packets of a cut that `find` made of the same open video for the same `start_s` and `reach_s`."""

    @contextmanager
    def copied() -> Iterator[tuple[VideoStream, Iterator[Packet[VideoStream]]]]:
        demuxed = _nonempty_packets(video, start_s - reach_s)
        run = islice(demuxed, cut.first, cut.first + len(cut.pts) + len(cut.dropped))
        yield video.stream, _shifted((packet for i, packet in enumerate(run) if i not in cut.dropped), cut)

    return copied


def _shifted(packets: Iterator[Packet[VideoStream]], cut: Cut) -> Iterator[Packet[VideoStream]]:
    """Times from 0 on; decoding times follow from the shown ones, since containers may lack them."""
    rising = sorted(cut.pts)
    delay = max(a - b for a, b in zip(rising, cut.pts, strict=True))
    for packet, pts, dts in zip(packets, cut.pts, rising, strict=True):
        packet.pts, packet.dts = pts - rising[0], dts - delay - rising[0]
        yield packet


def _seen(video: Video, from_s: float, end_s: float) -> list[_Seen]:
    base = video.stream.time_base or Fraction(1)
    seen = []
    for packet in _nonempty_packets(video, from_s):
        if packet.pts is None or video.shows_by_decode_time:
            raise MediaError("UNSUPPORTED", "no stream copy of packets that do not say when they are shown")
        if packet.dts is not None and float(packet.dts * base) - video.start_s >= end_s + REORDER_S:
            break
        at_s = float(packet.pts * base) - video.start_s
        seen.append(
            _Seen(at_s, packet.pts, packet.is_keyframe, packet.duration or 0, packet.is_corrupt, packet.is_discard)
        )
    return seen


def _nonempty_packets(video: Video, from_s: float) -> Iterator[Packet[VideoStream]]:
    return (packet for packet in packets_from(video, from_s) if packet.size)
