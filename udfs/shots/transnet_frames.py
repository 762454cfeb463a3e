"""A video -> all of its frames, 48 x 27, a piece at a time, so that memory stays flat however long it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux.timeline import Timing
from udfs.storage.remote_file import AnyPath
from udfs.video import container, rescale
from udfs.video.decode import frames
from udfs.video.rescale import Scaler

Pictures = npt.NDArray[np.uint8]  # frames x 27 x 48 x 3, RGB
Times = npt.NDArray[np.float64]  # seconds after the first shown frame
Piece = tuple[Times, Pictures]

SIZE = (48, 27)  # width, height; the aspect is not kept
PIECE_FRAMES = 3000  # 12 MB, which cross a pipe

_going_on: dict[tuple[AnyPath, int], Iterator[Piece]] = {}  # one at most: the decode behind the last piece, by what is next


def every(
    path: AnyPath, limits: Limits, call: Callable[..., Any], timing: Timing | None = None, piece_frames: int = PIECE_FRAMES
) -> Iterator[Piece]:
    """The pieces of a video; `call` runs a function in the process that decodes.

    Raises:
        MediaError: what opening and decoding raise; CORRUPT if no frame decodes.
    """
    for number in count():
        times, pictures = call(decode, path, number, piece_frames, limits, timing)
        if number == 0 and not len(times):
            raise MediaError("CORRUPT", "no frame could be decoded")
        if len(times):
            yield times, pictures
        if len(times) < piece_frames:
            return


def decode(path: AnyPath, number: int, piece_frames: int, limits: Limits, timing: Timing | None = None) -> Piece:
    """So many frames from frame `number * piece_frames` on, with their times; fewer where the video ends.

    The decode stays open for the next piece: no seek, so the pieces are those of one pass, whatever the file's times and key
    frames. A process that has not decoded the piece before (the sandbox's are replaced now and then) decodes up to here again.
    """
    rest = _going_on.pop((path, number), None)
    _going_on.clear()
    rest = rest or islice(_pieces(path, piece_frames, limits, timing), number, None)
    piece = next(rest, None)
    if piece is None:
        return np.empty(0), np.empty((0, SIZE[1], SIZE[0], 3), np.uint8)
    if len(piece[0]) == piece_frames:
        _going_on[path, number + 1] = rest
    return piece


def _pieces(path: AnyPath, piece_frames: int, limits: Limits, timing: Timing | None) -> Iterator[Piece]:
    scaler = Scaler()
    with container.open_video(path, limits, timing=timing) as video:
        shown = frames(video)
        while piece := [(at_s, _picture(frame, scaler)) for at_s, frame in islice(shown, piece_frames)]:
            yield np.array([at_s for at_s, _ in piece]), np.stack([picture for _, picture in piece])


def _picture(frame: VideoFrame, scaler: Scaler) -> Pictures:
    """Upright, and scaled as FFmpeg's command does by default, which made the pictures that TransNet V2 learnt from."""
    return rescale.upright_pixels(frame, SIZE, scaler, "BICUBIC")
