"""phash: a clip's frames -> perceptual hashes of a few of them, which near-copies of the clip share."""

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
from udfs.runtime.batching import Env, Row
from udfs.video.rescale import Scaler


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[phash]"""

    num_frames: Annotated[int, Field(ge=1, le=1000, description="the middles of as many equal parts of the clip")] = 4


class Observer:
    """Hashes the frames on screen at the middles of equal parts; the last one stands in where the clip ends early."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.wanted = [float(at_s) for at_s in middles(clip["duration_s"], params.num_frames)]
        self.before: VideoFrame | None = None
        self.scaler = Scaler()
        self.hashes: list[str] = []

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Once a frame is gone from the screen it is known which times it covered."""
        while (
            self.before
            and len(self.hashes) < len(self.wanted)
            and self.wanted[len(self.hashes)] < at_s - BOUNDARY_TOLERANCE_S
        ):
            self.hashes.append(dct_hash(self.before, self.scaler))
        self.before = frame

    def result(self) -> Row:
        """The hashes in time order."""
        while self.before and len(self.hashes) < len(self.wanted):
            self.hashes.append(dct_hash(self.before, self.scaler))
        return {"phash": self.hashes}


def dct_hash(frame: VideoFrame, scaler: Scaler) -> str:
    """imagehash's 64-bit DCT hash of a frame's luma, 16 hex digits; a frame of one shade has no bit but the first."""
    return str(imagehash.phash(Image.fromarray(luma(frame, scaler))))
