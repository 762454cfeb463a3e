"""Scale decoded frames and convert their pixel format; HDR becomes SDR."""

from __future__ import annotations

from fractions import Fraction

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from udfs.core.errors import MediaError
from udfs.video.picture import SQUARE, Orientation, is_hdr, orientation, true_size
from udfs.video.tonemap import Mapper

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height, pixels


class Scaler:
    """Scales the frames of one video to one size. It is kept, since setting up costs more than scaling; not thread-safe."""

    def __init__(self) -> None:
        self.reformatter, self.mapper = VideoReformatter(), Mapper("yuv444p")
        self.seen: tuple[int, Orientation] | None = None

    def __call__(self, frame: VideoFrame, size: Size, pixel_format: str, how: str) -> VideoFrame:
        """The frame in another size and format; the same object if it has them already."""
        if is_hdr(frame):
            frame = self.mapper(frame, size)
        # By default PyAV sets up a scaler per frame with one thread per core: 2.5 times the CPU time on two cores.
        return self.reformatter.reformat(frame, *size, format=pixel_format, interpolation=how, threads=1)

    def orientation(self, frame: VideoFrame) -> Orientation:
        """The orientation of a frame, read only if its rotation changes.

        PyAV keeps a frame whose side data was read until Python's cyclic garbage collector runs.
        """
        if self.seen is None or self.seen[0] != frame.rotation:
            self.seen = frame.rotation, orientation(frame)
        return self.seen[1]


def scaled(frame: VideoFrame, size: Size, pixel_format: str, scaler: Scaler, how: str = "AREA") -> VideoFrame:
    """The frame as it was coded, at another size; the same object where nothing is to be done.

    Raises:
        MediaError: UNSUPPORTED for a pixel format that cannot be converted.
    """
    try:
        return scaler(frame, size, pixel_format, how)
    except av.error.MemoryError:  # the sandbox tells of it
        raise
    except (av.error.FFmpegError, ValueError) as e:
        raise MediaError("UNSUPPORTED", f"no conversion from {frame.format.name} to {pixel_format}: {e}") from e


def pixels(frame: VideoFrame, size: Size, pixel_format: str, scaler: Scaler, how: str = "AREA") -> Pixels:
    """The same as an array: height x width, x 3 for the formats of three colours in a row."""
    return scaled(frame, size, pixel_format, scaler, how).to_ndarray().astype(np.uint8, copy=False)


def upright(frame: VideoFrame, size: Size, scaler: Scaler, how: str = "AREA") -> Pixels:
    """A frame as a player shows it, height x width x 3: RGB, turned upright, scaled to `size` (width, height)."""
    shown = scaler.orientation(frame)
    coded = size if shown.turns % 2 == 0 else size[::-1]
    return orient(pixels(frame, coded, "rgb24", scaler, how), shown)


def upright_size(frame: VideoFrame, scaler: Scaler, aspect: Fraction = SQUARE) -> Size:
    """Width and height as a player shows the frame, in square pixels; `aspect` is its sample aspect ratio."""
    width, height = true_size((frame.width, frame.height), aspect)
    return (width, height) if scaler.orientation(frame).turns % 2 == 0 else (height, width)


def orient(picture: Pixels, shown: Orientation) -> Pixels:
    """A coded picture as a player shows it."""
    return np.ascontiguousarray(np.rot90(np.fliplr(picture) if shown.mirrored else picture, shown.turns))
