"""A clip and a number of frames -> that many pictures, spread evenly from its beginning to its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, pairwise

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs import media
from udfs.limits import Limits

Pictures = npt.NDArray[np.uint8]  # frames x height x width x 3, RGB
Times = npt.NDArray[np.float64]  # seconds after the first shown frame


def even(path: str, num_frames: int, size: tuple[int, int], limits: Limits) -> tuple[Times, Pictures]:
    """The frames on screen at the middles of `num_frames` equal parts of the clip, upright, scaled to `size` (width, height).

    The aspect is not kept. A clip with fewer frames than asked for shows some of them again. The times are the frames' own.

    Raises:
        MediaError: what `media.open_video` raises; CORRUPT or PARTIAL if too little of the clip decodes.
    """
    times, pictures = list[float](), list[Pictures]()
    with media.open_video(path, limits) as video:
        wanted = middles(_span_s(video), num_frames)
    with media.open_video(path, limits) as video:  # anew: the packets looked at are spent
        for at_s, gone_s, frame in _on_screen(media.frames(video)):
            repeats = int(np.searchsorted(wanted, gone_s - media.BOUNDARY_TOLERANCE_S)) - len(times)
            if repeats > 0:
                times += [at_s] * repeats
                pictures += [picture(frame, size)] * repeats
        video.tally.check(video.stream.frames, limits)
    return np.array(times), np.stack(pictures)


def middles(duration_s: float, parts: int) -> Times:
    """The middle of each of so many equal parts, in seconds: the last lies half a part before the end."""
    parts_at: Times = np.arange(parts, dtype=np.float64)
    return (parts_at + 0.5) * (duration_s / parts)


def picture(frame: VideoFrame, size: tuple[int, int]) -> Pictures:
    """A frame as a player shows it, height x width x 3: turned upright, RGB, scaled to `size` (width, height)."""
    turns = round(frame.rotation / 90) % 4
    width, height = size if turns % 2 == 0 else size[::-1]
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return np.ascontiguousarray(np.rot90(pixels, turns))


def _span_s(video: media.Video) -> float:
    """How long frames are shown, by the packets: headers of uneven frame rates may end early, of live streams say nothing."""
    begins, ends = list[float](), list[float]()
    try:
        for packet in video.container.demux(video.stream):
            if packet.pts is not None and packet.time_base is not None and not packet.is_discard:
                begins.append(float(packet.pts * packet.time_base))
                ends.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except av.error.FFmpegError:
        return video.duration_s  # the decode finds out what is wrong
    return max(ends) - min(begins) if ends else video.duration_s


def _on_screen(shown: Iterator[tuple[float, VideoFrame]]) -> Iterator[tuple[float, float, VideoFrame]]:
    """Each frame with the times at which it comes and goes; the last one stays."""
    end: list[tuple[float, VideoFrame | None]] = [(math.inf, None)]
    for (at_s, frame), (gone_s, _) in pairwise(chain(shown, end)):
        assert frame is not None
        yield at_s, gone_s, frame
