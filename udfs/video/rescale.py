"""Scale decoded frames and convert their pixel format; HDR becomes SDR."""

from __future__ import annotations

from fractions import Fraction

import av.error
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from udfs.core.errors import MediaError
from udfs.video.picture import SQUARE, Orientation, is_hdr, orientation, square_pixel_size
from udfs.video.tonemap import Mapper

# The layouts in which a GPU returns frames, and those of the same samples with a plane per component.
PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le", "nv16": "yuv422p", "p210le": "yuv422p10le"}

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height, pixels


class Scaler:
    """Scales the frames of one video to one size; not thread-safe.

    Keep it for the whole video: setting up costs more than scaling a frame.
    """

    def __init__(self) -> None:
        self.reformatter, self.mapper = VideoReformatter(), Mapper("yuv444p")
        self.last_orientation: tuple[int, Orientation] | None = None

    def __call__(self, frame: VideoFrame, size: Size, pixel_format: str, interpolation: str) -> VideoFrame:
        """The frame in another size and format, as SDR; the same object if it is so already."""
        if is_hdr(frame):
            frame = self.mapper(frame, size)
        # PyAV's default, one thread per core, takes 2.5 times the CPU time on two cores.
        return self.reformatter.reformat(frame, *size, format=pixel_format, interpolation=interpolation, threads=1)

    def orientation(self, frame: VideoFrame) -> Orientation:
        """The orientation of a frame; its side data is read only if its rotation changes.

        A frame whose side data was read stays in memory until Python's cyclic collector runs.
        """
        if self.last_orientation is None or self.last_orientation[0] != frame.rotation:
            self.last_orientation = frame.rotation, orientation(frame)
        return self.last_orientation[1]


def planar_frame(frame: VideoFrame) -> VideoFrame:
    """A GPU's frame with a plane per component, as FFmpeg's own decoders return it; the same object if it is so.

    No sample changes. FFmpeg converts the two layouts to RGB by other code where it does not scale:
    colors at edges would differ by up to 38 of 255.
    """
    layout = PLANAR.get(frame.format.name)
    return frame if layout is None else frame.reformat(format=layout, threads=1)


def scaled_frame(
    frame: VideoFrame, size: Size, pixel_format: str, scaler: Scaler, interpolation: str = "AREA"
) -> VideoFrame:
    """The frame as coded, in another size and format; the same object if it has them already.

    Raises:
        MediaError: UNSUPPORTED for a pixel format that cannot be converted.
    """
    try:
        return scaler(frame, size, pixel_format, interpolation)
    except av.error.MemoryError:  # the sandbox reports it
        raise
    except (av.error.FFmpegError, ValueError) as e:
        raise MediaError("UNSUPPORTED", f"no conversion from {frame.format.name} to {pixel_format}: {e}") from e


def scaled_pixels(
    frame: VideoFrame, size: Size, pixel_format: str, scaler: Scaler, interpolation: str = "AREA"
) -> Pixels:
    """`scaled_frame` as an array: height x width, x 3 for packed formats of three colors.

    Raises:
        MediaError: as `scaled_frame`.
    """
    return scaled_frame(frame, size, pixel_format, scaler, interpolation).to_ndarray().astype(np.uint8, copy=False)


def upright_pixels(frame: VideoFrame, size: Size, scaler: Scaler, interpolation: str = "AREA") -> Pixels:
    """A frame as a player shows it, as RGB of height x width x 3, scaled to `size` (width, height).

    Raises:
        MediaError: as `scaled_frame`.
    """
    view = scaler.orientation(frame)
    coded_size = size if view.turns % 2 == 0 else size[::-1]
    return oriented_pixels(scaled_pixels(frame, coded_size, "rgb24", scaler, interpolation), view)


def upright_size(frame: VideoFrame, scaler: Scaler, aspect: Fraction = SQUARE) -> Size:
    """Width and height in square pixels of the frame as a player shows it.

    `aspect` is its sample aspect ratio.
    """
    width, height = square_pixel_size((frame.width, frame.height), aspect)
    return (width, height) if scaler.orientation(frame).turns % 2 == 0 else (height, width)


def oriented_pixels(picture: Pixels, view: Orientation) -> Pixels:
    """A coded picture (height x width, or x 3), mirrored and turned as a player shows it."""
    return np.ascontiguousarray(np.rot90(np.fliplr(picture) if view.is_mirrored else picture, view.turns))
