"""CPU and bytes of clips by libopenh264 and by libx264, at about equal PSNR.

Each video is cut into clips of CLIP_S by the stage's own code. libopenh264 encodes at its default quality,
libx264 at the quality of QUALITIES whose pictures are nearest in PSNR. The other way round would not do: the
background detection of libopenh264 leaves noise out of still parts, whatever the quality.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from tests.support import clips, spent
from tests.support.clip_units import unit
from tests.support.goals import Report, Row
from udfs import clip
from udfs.clip import Params

CLIP_S, CLIPS = 10, 2  # length of a clip, and clips per video
QUALITIES = range(20, 32)
NEAR_DB = 0.7  # equal pictures differ by at most this in PSNR: a step of the quality is some 1 dB
ROUNDS = 3
Luma = NDArray[np.uint8]


class Cost(NamedTuple):
    """CPU seconds and bytes per clip, and the PSNR of all frames in dB."""

    cpu_s: float
    num_bytes: float
    psnr_db: float


def luma(path: str, end: int | None = None) -> list[Luma]:
    """The luma of frames of a file, in display order."""
    with av.open(path) as container:
        frames = (frame for number, frame in enumerate(container.decode(video=0)) if end is None or number < end)
        planes = [frame.to_ndarray(format="gray") for frame in frames]
    return [plane.astype(np.uint8, copy=False) for plane in planes]


def psnr_db(source: list[Luma], coded: list[Luma]) -> float:
    assert len(source) == len(coded)
    errors = [np.mean((was.astype(float) - now) ** 2) for was, now in zip(source, coded, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def cost(path: Path, params: Params, folder: Path, rounds: int = 1) -> Cost:
    """What the clips of a video cost, and how near their pictures come to it."""
    with av.open(str(path)) as container:
        length = round(float(container.streams.video[0].average_rate or Fraction(25)) * CLIP_S)
    row = unit(path, *((n * length, (n + 1) * length) for n in range(CLIPS)))
    runs = [spent.here(lambda: clip.cut_unit(row, params, clips.env(folder))) for _ in range(rounds)]
    coded = [picture for made in runs[0].answer for picture in luma(made["uri"])]
    num_bytes = sum(made["num_bytes"] for made in runs[0].answer)
    shown = psnr_db(luma(str(path), CLIPS * length), coded)
    return Cost(spent.median(runs).cpu_s / CLIPS, num_bytes / CLIPS, shown)


def test_clips_of_libopenh264_cost_this_much_beside_libx264(
    minutes: list[Path], report: Report, tmp_path: Path
) -> None:
    for path in minutes:
        ours = cost(path, Params(encoder="libopenh264", audio="drop"), tmp_path / "openh264", ROUNDS)
        tried = {crf: cost(path, Params(crf=crf, audio="drop"), tmp_path / str(crf)) for crf in QUALITIES}
        crf = min(tried, key=lambda crf: abs(tried[crf].psnr_db - ours.psnr_db))
        x264 = cost(path, Params(crf=crf, audio="drop"), tmp_path / "x264", ROUNDS)
        assert abs(ours.psnr_db - x264.psnr_db) <= NEAR_DB
        cpu = f"{ours.cpu_s:.2f} and {x264.cpu_s:.2f} s per clip of {CLIP_S} s"
        report.add(Row(f"{path.stem}: CPU of libopenh264 beside libx264", ours.cpu_s / x264.cpu_s, "x", detail=cpu))
        same = f"{ours.psnr_db:.1f} dB, and {x264.psnr_db:.1f} at crf {crf}"
        size = f"{ours.num_bytes / 1000:.0f} and {x264.num_bytes / 1000:.0f} kB; {same}"
        report.add(Row(f"{path.stem}: bytes", ours.num_bytes / x264.num_bytes, "x", detail=size))
