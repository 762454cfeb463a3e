"""A clip and a number of frames -> that many pictures, spread evenly from its beginning to its end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs import media
from udfs.errors import MediaError

Pictures = npt.NDArray[np.uint8]  # frames x height x width x 3, RGB
Times = npt.NDArray[np.float64]  # seconds after the first shown frame


def even(path: str, num_frames: int, size: tuple[int, int], limits: media.Limits) -> tuple[Times, Pictures]:
    """The frames on screen at the middles of `num_frames` equal parts of the clip, upright, scaled to `size` (width, height).

    The aspect is not kept. A clip with fewer frames than asked for shows some of them again.

    Raises:
        MediaError: what `media.open_video` raises; CORRUPT or PARTIAL if too little of the clip decodes.
    """
    with media.open_video(path, limits) as video:
        shown = media.frames(video)
        before = next(shown, None)
        if before is None:
            raise MediaError("CORRUPT", "no frame could be decoded")
        wanted = middles(video.duration_s, num_frames)
        times, pictures = [], []
        for after in shown:
            while len(times) < num_frames and after[0] > wanted[len(times)] + media.BOUNDARY_TOLERANCE_S:
                times.append(before[0])
                pictures.append(picture(before[1], size))
            before = after
        while len(times) < num_frames:
            times.append(before[0])
            pictures.append(picture(before[1], size))
        video.tally.check(video.stream.frames, limits)
    return np.array(times), np.stack(pictures)


def middles(duration_s: float, parts: int) -> Times:
    """The middle of each of so many equal parts, in seconds: the last lies half a part before the end."""
    return (np.arange(parts) + 0.5) * (duration_s / parts)


def picture(frame: VideoFrame, size: tuple[int, int]) -> Pictures:
    """A frame as a player shows it: turned upright, RGB, scaled to `size` (width, height)."""
    turns = round(frame.rotation / 90) % 4
    width, height = size if turns % 2 == 0 else size[::-1]
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    return np.ascontiguousarray(np.rot90(pixels, turns))
