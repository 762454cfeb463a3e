"""motion: motion scores of a clip, from the codec's motion vectors, else from optical flow."""

from __future__ import annotations

import math
from typing import Annotated

from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.frames.sampler import Luma, Sampler, bounded_size, coded_luma
from udfs.runtime.context import Env, Row
from udfs.signals import optical_flow
from udfs.video.picture import side_data
from udfs.video.rescale import Scaler

ESTIMATE_MIN_SIDE_PX = 64  # OpenCV's DIS refuses sides under 12 and gives NaN or crashes under 32
# Constants of NeMo Curator's decoder (1.4.0), for `parity`.
PARITY_RATIO = 0.5  # of the clip's whole seconds: it reads only the first half
PARITY_MIN_FRAMES = 10
PARITY_MIN_SIDE_PX = 256


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[motion]"""

    fps: Annotated[float, Field(gt=0, le=1000, description="sampled frames per second, over the whole clip")] = 2.0
    estimate_side_px: Annotated[
        int, Field(ge=64, le=4096, description="longer side for optical flow, if there are no vectors")
    ] = 320
    parity: Annotated[bool, Field(description="sample frames and patches as NeMo Curator does")] = False


class Observer:
    """Averages motion over the sampled frames; intra-coded frames have no motion vectors."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.params = params
        self.sampler = _ParitySampler(params.fps, clip) if params.parity else Sampler(params.fps)
        self.scaler = Scaler()
        self.vectors = _RunningMean()
        self.flows = _RunningMean()
        self.flow_sampler = Sampler(params.fps)
        self.previous: Luma | None = None
        self.size: optical_flow.Size = (0, 0)

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Add the first frame with vectors of each interval; before any, add optical flow."""
        self.size = frame.width, frame.height
        if isinstance(self.sampler, _ParitySampler):
            self.sampler.count()
        # A frame whose side data was read stays in memory until Python's cyclic collector runs.
        vectors = side_data(frame, "MOTION_VECTORS") if self.sampler.is_due(at_s) else None
        if vectors is not None and self.sampler.takes(at_s):
            self.vectors.add(optical_flow.motion_vector_cells(vectors.to_ndarray(), self.size))
        if not self.vectors.count and not self.params.parity:
            self._add_flow(at_s, frame)

    def result(self) -> Row:
        """The columns of table `signals`: both scores, and their source or the reason for NULL."""
        if self.params.parity and min(self.size) < PARITY_MIN_SIDE_PX:
            return _unscored("too_small")
        mean = self.vectors if self.vectors.count or self.params.parity else self.flows
        if not mean.count:
            return _unscored("no_vectors" if self.params.parity else "too_short")
        least_patch = optical_flow.center_min if self.params.parity else optical_flow.patch_min
        return {
            "motion_score_global_mean": optical_flow.global_mean(mean.cells(), self.size),
            "motion_score_per_patch_min_256": least_patch(mean.cells(), self.size),
            "motion_source": "vectors" if mean is self.vectors else "frames",
        }

    def _add_flow(self, at_s: float, frame: VideoFrame) -> None:
        """Add the flow from each sampled frame to the next frame, the unit of motion vectors."""
        is_sampled = self.flow_sampler.takes(at_s)
        if not is_sampled and self.previous is None:
            return
        width, height = bounded_size(self.size, self.params.estimate_side_px, multiple=16)
        picture = coded_luma(frame, (max(width, ESTIMATE_MIN_SIDE_PX), max(height, ESTIMATE_MIN_SIDE_PX)), self.scaler)
        if self.previous is not None:
            self.flows.add(optical_flow.flow_cells(self.previous, picture, self.size))
        self.previous = picture if is_sampled else None


class _RunningMean:
    """The mean of cell grids that are added one by one."""

    def __init__(self) -> None:
        self.sum: optical_flow.Cells | None = None
        self.count = 0

    def add(self, cells: optical_flow.Cells) -> None:
        self.sum = cells if self.sum is None else self.sum + cells
        self.count += 1

    def cells(self) -> optical_flow.Cells:
        assert self.sum is not None
        return self.sum / self.count


class _ParitySampler:
    """NeMo Curator's sampling: every nth frame, up to a number of frames with vectors."""

    def __init__(self, fps: float, clip: Row) -> None:
        self.step = max(1, round(clip["framerate"] / fps))
        self.num_left = max(PARITY_MIN_FRAMES, round(fps * math.floor(clip["duration_s"]) * PARITY_RATIO))
        self.number = -1

    def count(self) -> None:
        self.number += 1

    def is_due(self, at_s: float) -> bool:
        is_nth: bool = self.number % self.step == 0
        return is_nth and self.num_left > 0

    def takes(self, at_s: float) -> bool:
        is_sampled = self.is_due(at_s)
        self.num_left -= is_sampled
        return is_sampled


def _unscored(reason: str) -> Row:
    return {"motion_score_global_mean": None, "motion_score_per_patch_min_256": None, "motion_source": reason}
