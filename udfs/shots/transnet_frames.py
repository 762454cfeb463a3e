"""Frames for TransNet V2: all frames of a video at 48 x 27 pixels, in pieces of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame

from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux.timeline import Timing
from udfs.storage.remote_file import AnyPath
from udfs.video import container, rescale
from udfs.video.decode import frames
from udfs.video.nvdec import CPU, Place
from udfs.video.rescale import Scaler

Pictures = npt.NDArray[np.uint8]  # frames x 27 x 48 x 3, RGB
Times = npt.NDArray[np.float64]  # seconds after the first shown frame
Piece = tuple[Times, Pictures]

SIZE = (48, 27)  # width, height in pixels; the aspect ratio is not kept
PIECE_FRAMES = 3000  # 12 MB, sent through the pipe of the sandbox

# The decode behind the last piece, by path and number of the next piece; at most one.
_open_decodes: dict[tuple[AnyPath, int], Iterator[Piece]] = {}


def pieces(
    path: AnyPath,
    limits: Limits,
    call: Callable[..., Any],
    timing: Timing | None = None,
    piece_frames: int = PIECE_FRAMES,
    place: Place = CPU,
) -> Iterator[Piece]:
    """All frames of a video in pieces, with their times; `call` runs a function in the sandbox.

    Raises:
        MediaError: the file cannot be opened or decoded; CORRUPT if no frame decodes.
    """
    for number in count():
        times, pictures = call(decode_piece, path, number, piece_frames, limits, timing, place)
        if number == 0 and not len(times):
            raise MediaError("CORRUPT", "no frame could be decoded")
        if len(times):
            yield times, pictures
        if len(times) < piece_frames:
            return


def decode_piece(
    path: AnyPath, number: int, piece_frames: int, limits: Limits, timing: Timing | None = None, place: Place = CPU
) -> Piece:
    """Piece `number` of a video, of `piece_frames` frames; the last piece has fewer or none.

    The decode stays open for the next piece. Without seeks the pieces are those of one pass,
    whatever the times and key frames of the file. The sandbox replaces its processes now and then:
    one that has not decoded the piece before decodes from the beginning up to this piece.
    """
    rest = _open_decodes.pop((path, number), None)
    _open_decodes.clear()
    rest = rest or islice(_pieces(path, piece_frames, limits, timing, place), number, None)
    piece = next(rest, None)
    if piece is None:
        return np.empty(0), np.empty((0, SIZE[1], SIZE[0], 3), np.uint8)
    if len(piece[0]) == piece_frames:
        _open_decodes[path, number + 1] = rest
    return piece


def _pieces(path: AnyPath, piece_frames: int, limits: Limits, timing: Timing | None, place: Place) -> Iterator[Piece]:
    scaler, decoded = Scaler(), _frames(path, limits, timing, place.accelerator())
    while piece := [(at_s, _small_picture(frame, scaler)) for at_s, frame in islice(decoded, piece_frames)]:
        yield np.array([at_s for at_s, _ in piece]), np.stack([picture for _, picture in piece])


def _frames(
    path: AnyPath, limits: Limits, timing: Timing | None, accel: HWAccel | None
) -> Iterator[tuple[float, VideoFrame]]:
    """All frames with their times: where the GPU fails, those after its last one by the CPU."""
    last_s = -math.inf
    if accel is not None:
        with suppress(MediaError), container.open_video(path, limits, accel, timing) as video:
            for last_s, frame in frames(video):
                yield last_s, frame
            return
    with container.open_video(path, limits, timing=timing) as video:
        yield from ((at_s, frame) for at_s, frame in frames(video) if at_s > last_s)


def _small_picture(frame: VideoFrame, scaler: Scaler) -> Pictures:
    """The frame upright, scaled by FFmpeg's default filter, as in TransNet V2's training data."""
    return rescale.upright_pixels(frame, SIZE, scaler, "BICUBIC")
