"""Pictures of a video at given times, rates or numbers of frames: upright, in square pixels, RGB, scaled."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs.core.heartbeat import beat
from udfs.core.limits import Limits, Tally
from udfs.demux.demuxer import Video
from udfs.frames.target_size import Fit as Fit
from udfs.frames.target_size import exactly as exactly
from udfs.frames.target_size import pixels as pixels
from udfs.frames.target_size import short_side as short_side
from udfs.frames.target_size import target_res as target_res
from udfs.frames.timestamps import Times as Times
from udfs.frames.timestamps import middles, nearest, on_screen
from udfs.storage.remote_file import AnyPath
from udfs.video import container, decode, rescale
from udfs.video.picture import sample_aspect
from udfs.video.rescale import Scaler

Pictures = npt.NDArray[np.uint8]  # frames x height x width x 3, RGB
Policy = Literal["first", "middle", "last"]

BEHIND_ANY_S = 1e15


def even(path: AnyPath, num_frames: int, fit: Fit, limits: Limits) -> tuple[Times, Pictures]:
    """The frames on screen at the middles of `num_frames` equal parts of the clip.

    A clip with fewer frames than asked for shows some of them again. The times are the frames' own. All of it is decoded.

    Raises:
        MediaError: what `media.open_video` raises; CORRUPT or PARTIAL if too little of the clip decodes.
    """
    wanted = middles(_outline(path, limits)[1], num_frames)
    with container.open_video(path, limits) as video:
        found = _painted(video, on_screen(decode.frames(video), wanted), fit)
        video.tally.check(video.num_expected_frames, limits)
    return found


def shown(path: AnyPath, at_s: Sequence[float], fit: Fit, limits: Limits) -> tuple[Times, Pictures]:
    """The frames on screen at each of these rising times, of which there is one at least; past the end, the last frame.

    The times are the frames' own. No more than the stretch from the first to the last of them is decoded.

    Raises:
        MediaError: as `even`.
    """
    starts, _ = _outline(path, limits, whole=True)
    return _shown(path, np.asarray(at_s, np.float64), starts, fit, limits)


def one(path: AnyPath, policy: Policy, fit: Fit, limits: Limits) -> tuple[Times, Pictures]:
    """The first frame, the last, or the one on screen in the middle of the duration.

    Raises:
        MediaError: as `even`; of a damaged video whose first frame is good, that one is given.
    """
    if policy == "first":
        return _shown(path, np.zeros(1), np.zeros(1), fit, limits)
    starts, duration_s = _outline(path, limits, whole=True)
    wanted = middles(duration_s, 1) if policy == "middle" else np.array([BEHIND_ANY_S])
    return _shown(path, wanted, starts, fit, limits)


def sequence(path: AnyPath, fps: Sequence[float], fit: Fit, limits: Limits) -> list[tuple[Times, Pictures]]:
    """What `stream` gives, one pair a rate: for what fits into memory.

    Raises:
        MediaError: as `even`.
    """
    times, pictures = [list[float]() for _ in fps], [list[Pictures]() for _ in fps]
    for rate, at_s, picture in stream(path, fps, fit, limits):
        times[rate].append(at_s)
        pictures[rate].append(picture)
    return [(np.array(own), np.stack(seen)) for own, seen in zip(times, pictures, strict=True)]


def stream(path: AnyPath, fps: Sequence[float], fit: Fit, limits: Limits) -> Iterator[tuple[int, float, Pictures]]:
    """Samples of several rates from one decode, as they come: number of the rate, the frame's own time, picture.

    A picture that is wanted more than once is the same array. Only at its end is it known whether the video is whole.

    Raises:
        MediaError: as `even`.
    """
    with container.open_video(path, limits) as video:
        painter = _Painter(video, fit)
        for rate, at_s, frame in nearest(decode.frames(video), fps):
            yield rate, at_s, painter.picture(frame)
        video.tally.check(video.num_expected_frames, limits)


class _Painter:
    """Makes pictures of the frames of one video, all of the size that fits its first one."""

    def __init__(self, video: Video, fit: Fit) -> None:
        self.video, self.fit, self.scaler = video, fit, Scaler()
        self.size: tuple[int, int] | None = None
        self.last: tuple[VideoFrame, Pictures] | None = None

    def picture(self, frame: VideoFrame) -> Pictures:
        self.size = self.size or self.fit(*rescale.upright_size(frame, self.scaler, sample_aspect(self.video.stream)))
        if self.last is None or self.last[0] is not frame:
            self.last = frame, rescale.upright_pixels(frame, self.size, self.scaler)
        return self.last[1]


def _painted(video: Video, found: Iterator[tuple[float, VideoFrame]], fit: Fit) -> tuple[Times, Pictures]:
    painter = _Painter(video, fit)
    seen = [(at_s, painter.picture(frame)) for at_s, frame in found]
    return np.array([at_s for at_s, _ in seen]), np.array([image for _, image in seen], dtype=np.uint8)


def _shown(path: AnyPath, wanted: Times, starts: Times, fit: Fit, limits: Limits) -> tuple[Times, Pictures]:
    """The frames on screen then, decoded from the last start no later than the first wanted time, else from the beginning."""
    before = starts[starts <= wanted[0]]
    for start_s in dict.fromkeys((float(before.max(initial=0.0)), 0.0)):
        with container.open_video(path, limits) as video:
            found = _painted(video, islice(on_screen(decode.frames(video, start_s), wanted), len(wanted)), fit)
            if len(found[0]) or start_s == 0.0:
                video.tally.check(0, limits)
                break
    return found


def _outline(path: AnyPath, limits: Limits, *, whole: bool = False) -> tuple[Times, float]:
    """When each frame comes and when the last one goes, by the packets: headers of uneven frame rates may end early, of live
    streams say nothing. Where the packets do not tell, a frame comes at 0.

    With `whole`, packets that are missing or damaged are a MediaError, as frames are where all are decoded.
    """
    begins, end_s, tally = array("d"), -math.inf, Tally()  # of a day's video, floats of Python's would be 300 MB
    with container.open_video(path, limits) as video:
        duration_s = video.duration_s
        try:
            for packet in video.container.demux(video.stream):
                beat()
                video.num_hidden_packets += packet.is_discard
                tally.frames += packet.size > 0
                tally.corrupt += packet.is_corrupt
                if packet.pts is not None and packet.time_base is not None and not packet.is_discard:
                    begins.append(float(packet.pts * packet.time_base))
                    end_s = max(end_s, begins[-1] + float((packet.duration or 0) * packet.time_base))
        except av.error.FFmpegError:  # the decode finds out what is wrong
            del begins[:]
        if whole:
            tally.check(video.num_expected_frames, limits)
        tells = bool(begins) and not video.shows_by_decode_time
    starts = np.sort(np.array(begins)) - min(begins) if tells else np.zeros(1)
    return starts, end_s - min(begins) if begins else duration_s
