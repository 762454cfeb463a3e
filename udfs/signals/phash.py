"""phash: perceptual hashes of a few frames of a clip, which its near-copies share."""

from __future__ import annotations

from typing import Annotated

import imagehash
from av.video.frame import VideoFrame
from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.demux.timeline import BOUNDARY_TOLERANCE_S
from udfs.frames.sampler import luma
from udfs.frames.timestamps import middles
from udfs.runtime.context import Env, Row
from udfs.video.rescale import Scaler


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[phash]"""

    num_frames: Annotated[
        int, Field(ge=1, le=1000, description="hashed frames, at the middles of equal parts of the clip")
    ] = 4


class Observer:
    """Hashes the frames on screen at the middles of equal parts; after the end, the last one."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.times_s = [float(at_s) for at_s in middles(clip["duration_s"], params.num_frames)]
        self.previous: VideoFrame | None = None
        self.scaler = Scaler()
        self.hashes: list[str] = []

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Hash the previous frame for each time at which it was on screen."""
        end_s = at_s - BOUNDARY_TOLERANCE_S
        while self.previous and self._is_incomplete() and self.times_s[len(self.hashes)] < end_s:
            self.hashes.append(dct_hash(self.previous, self.scaler))
        self.previous = frame

    def result(self) -> Row:
        """The hashes in time order."""
        while self.previous and self._is_incomplete():
            self.hashes.append(dct_hash(self.previous, self.scaler))
        return {"phash": self.hashes}

    def _is_incomplete(self) -> bool:
        """Whether a time has no hash yet."""
        return len(self.hashes) < len(self.times_s)


def dct_hash(frame: VideoFrame, scaler: Scaler) -> str:
    """imagehash's 64-bit DCT hash of a frame's luma, 16 hex digits.

    In the hash of a frame of one shade only the first bit is set.
    """
    return str(imagehash.phash(Image.fromarray(luma(frame, scaler))))
