"""A decoded frame and a size -> the frame or its pixels at that size, in another pixel format."""

from __future__ import annotations

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from udfs.errors import MediaError

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height, pixels


def scaled(frame: VideoFrame, size: Size, pixel_format: str, scaler: VideoReformatter, how: str = "AREA") -> VideoFrame:
    """The frame as it was coded, at another size; the same object where nothing is to be done.

    A scaler is kept for frames and sizes that do not change, and is used by one thread at a time: to set it up anew costs more
    than to scale. PyAV's own default is a new one a frame, with a thread a core: 2.5 times the CPU time on two cores.

    Raises:
        MediaError: UNSUPPORTED for a pixel format that cannot be converted.
    """
    try:
        return scaler.reformat(frame, *size, format=pixel_format, interpolation=how, threads=1)
    except av.error.MemoryError:  # the sandbox tells of it
        raise
    except (av.error.FFmpegError, ValueError) as e:
        raise MediaError("UNSUPPORTED", f"no conversion from {frame.format.name} to {pixel_format}: {e}") from e


def pixels(frame: VideoFrame, size: Size, pixel_format: str, scaler: VideoReformatter, how: str = "AREA") -> Pixels:
    """The same as an array: height x width, x 3 for the formats of three colours in a row."""
    return scaled(frame, size, pixel_format, scaler, how).to_ndarray().astype(np.uint8, copy=False)


def upright(frame: VideoFrame, size: Size, scaler: VideoReformatter) -> Pixels:
    """A frame as a player shows it, height x width x 3: RGB, turned upright, scaled to `size` (width, height)."""
    coded = size if turns(frame) % 2 == 0 else size[::-1]
    return np.ascontiguousarray(np.rot90(pixels(frame, coded, "rgb24", scaler), turns(frame)))


def upright_size(frame: VideoFrame) -> Size:
    """Width and height as a player shows the frame."""
    return (frame.width, frame.height) if turns(frame) % 2 == 0 else (frame.height, frame.width)


def turns(frame: VideoFrame) -> int:
    """Quarters of a turn, counter-clockwise, that a player gives the frame."""
    return round(frame.rotation / 90) % 4
