"""motion: a clip's frames -> how much it moves, from the motion vectors of its coding or, without any, from its pictures."""

from __future__ import annotations

import math
from typing import Annotated

from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.frames.sampler import Luma, Sampler, bounded_size, coded_luma
from udfs.runtime.batching import Env, Row
from udfs.signals import optical_flow
from udfs.video.picture import side_data
from udfs.video.rescale import Scaler

ESTIMATE_MIN_SIDE_PX = 64  # OpenCV's DIS refuses sides under 12, gives NaN or dies under 32
# NeMo Curator's decoder (1.4.0), for parity.
PARITY_RATIO = 0.5  # of the clip's whole seconds: only its first half is looked at
PARITY_MIN_FRAMES = 10
PARITY_MIN_SIDE_PX = 256


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[motion]"""

    fps: Annotated[float, Field(gt=0, le=1000, description="frames looked at a second, over the whole clip")] = 2.0
    estimate_side_px: Annotated[
        int, Field(ge=64, le=4096, description="pictures compared where there are no vectors")
    ] = 320
    parity: Annotated[bool, Field(description="choose frames and patches as NeMo Curator does")] = False


class Observer:
    """Means of cell grids over the sampled frames that carry motion vectors: intra-coded frames carry none."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.params = params
        self.chosen = _Parity(params.fps, clip) if params.parity else Sampler(params.fps)
        self.scaler = Scaler()
        self.vectors = _Mean()
        self.pictures = _Mean()
        self.compared = Sampler(params.fps)
        self.before: Luma | None = None
        self.size: optical_flow.Size = (0, 0)

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Take the first frame with vectors of each stretch; as long as there was none, compare pictures."""
        self.size = frame.width, frame.height
        found = side_data(frame, "MOTION_VECTORS")
        if isinstance(self.chosen, _Parity):
            self.chosen.count()
        if found is not None and self.chosen.takes(at_s):
            self.vectors.add(optical_flow.from_vectors(found.to_ndarray(), self.size))
        if not self.vectors.count and not self.params.parity:
            self._compare(at_s, frame)

    def result(self) -> Row:
        """Both scores and where they come from, or why there are none."""
        if self.params.parity and min(self.size) < PARITY_MIN_SIDE_PX:
            return _unscored("too_small")
        mean = self.vectors if self.vectors.count or self.params.parity else self.pictures
        if not mean.count:
            return _unscored("no_vectors" if self.params.parity else "too_short")
        least = optical_flow.centre_min if self.params.parity else optical_flow.patch_min
        return {
            "motion_score_global_mean": optical_flow.global_mean(mean.cells(), self.size),
            "motion_score_per_patch_min_256": least(mean.cells(), self.size),
            "motion_source": "vectors" if mean is self.vectors else "frames",
        }

    def _compare(self, at_s: float, frame: VideoFrame) -> None:
        """The flow from each sampled frame to the very next one: the same unit as a vector's."""
        wanted = self.compared.takes(at_s)
        if not wanted and self.before is None:
            return
        width, height = bounded_size(self.size, self.params.estimate_side_px, multiple=16)
        now = coded_luma(frame, (max(width, ESTIMATE_MIN_SIDE_PX), max(height, ESTIMATE_MIN_SIDE_PX)), self.scaler)
        if self.before is not None:
            self.pictures.add(optical_flow.from_pictures(self.before, now, self.size))
        self.before = now if wanted else None


class _Mean:
    """A mean of grids, as they come."""

    def __init__(self) -> None:
        self.sum: optical_flow.Cells | None = None
        self.count = 0

    def add(self, cells: optical_flow.Cells) -> None:
        self.sum = cells if self.sum is None else self.sum + cells
        self.count += 1

    def cells(self) -> optical_flow.Cells:
        assert self.sum is not None
        return self.sum / self.count


class _Parity:
    """NeMo Curator's choice: every nth frame by its number, of these the ones with vectors, up to a count."""

    def __init__(self, fps: float, clip: Row) -> None:
        self.step = max(1, round(clip["framerate"] / fps))
        self.left = max(PARITY_MIN_FRAMES, round(fps * math.floor(clip["duration_s"]) * PARITY_RATIO))
        self.number = -1

    def count(self) -> None:
        self.number += 1

    def takes(self, at_s: float) -> bool:
        taken: bool = self.number % self.step == 0 and self.left > 0
        self.left -= taken
        return taken


def _unscored(why: str) -> Row:
    return {"motion_score_global_mean": None, "motion_score_per_patch_min_256": None, "motion_source": why}
