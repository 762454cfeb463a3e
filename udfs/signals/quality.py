"""quality: blackness, freeze, blur and letterbox of a clip."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.frames.sampler import Luma, Sampler, luma
from udfs.runtime.context import Env, Row
from udfs.video.rescale import Scaler

CELL_PX = 16  # side of the cells that `freeze` compares: their means keep motion and drop coding noise


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[quality]; the black values are those of FFmpeg's blackdetect."""

    fps: Annotated[float, Field(gt=0, le=1000, description="sampled frames per second")] = 2.0
    black_level: Annotated[float, Field(ge=0, le=1, description="luma, 0-1, up to which a pixel is black")] = 0.1
    black_share: Annotated[
        float, Field(gt=0, le=1, description="share of black pixels that makes a frame, row or column black")
    ] = 0.98
    freeze_tolerance: Annotated[float, Field(ge=0, le=1, description="most difference of a still cell's luma, 0-1")] = (
        0.008
    )


class Observer:
    """Measures each sampled frame at its full size."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.params = params
        self.sampler = Sampler(params.fps)
        self.scaler = Scaler()
        self.max_lit_share = 1 - params.black_share + 1e-9  # of the pixels of a black frame, row or column
        self.black: list[bool] = []
        self.frozen: list[bool] = []
        self.sharpness: list[float] = []
        self.rows: npt.NDArray[np.bool_] | None = None  # rows that are lit in some frame
        self.columns: npt.NDArray[np.bool_] | None = None
        self.cells: npt.NDArray[np.float32] | None = None

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Measure the first frame of each interval."""
        if not self.sampler.takes(at_s):
            return
        picture = luma(frame, self.scaler)
        lit = (picture > int(255 * self.params.black_level)).view(np.uint8)
        rows, columns = (cv2.reduce(lit, dim, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() for dim in (1, 0))
        self.black.append(bool(rows.sum() <= self.max_lit_share * lit.size))
        rows, columns = rows > self.max_lit_share * lit.shape[1], columns > self.max_lit_share * lit.shape[0]
        self.rows = rows if self.rows is None else self.rows | rows
        self.columns = columns if self.columns is None else self.columns | columns
        self.sharpness.append(sharpness(picture))
        cells = _cells(picture)
        if self.cells is not None:
            self.frozen.append(bool(np.abs(cells - self.cells).max() <= 255 * self.params.freeze_tolerance))
        self.cells = cells

    def result(self) -> Row:
        """The four columns of table `signals`.

        blackness and freeze are shares of the sampled frames, 0-1; freeze is NULL for a single one.
        blur is the median sharpness. letterbox is the box inside black bars, [x, y, width, height]
        in pixels; NULL for a clip that is all black.
        """
        return {
            "blackness": float(np.mean(self.black)),
            "freeze": float(np.mean(self.frozen)) if self.frozen else None,
            "blur": float(np.median(self.sharpness)),
            "letterbox": self._letterbox(),
        }

    def _letterbox(self) -> list[int] | None:
        rows, columns = np.flatnonzero(np.array(self.rows)), np.flatnonzero(np.array(self.columns))
        if not rows.size or not columns.size:
            return None
        x, y = int(columns[0]), int(rows[0])
        return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def sharpness(picture: Luma) -> float:
    """The variance of the Laplacian of luma (Pech-Pacheco et al., 2000).

    It rises with detail, with noise and with the size of the frame.
    """
    _, deviation = cv2.meanStdDev(cv2.Laplacian(picture, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def _cells(picture: Luma) -> npt.NDArray[np.float32]:
    size = max(1, picture.shape[1] // CELL_PX), max(1, picture.shape[0] // CELL_PX)
    return np.asarray(cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA), dtype=np.float32)
