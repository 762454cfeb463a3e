"""An open video -> the times of its cuts, by PySceneDetect's adaptive detector."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from scenedetect import FrameTimecode
from scenedetect.common import Timecode
from scenedetect.detectors import AdaptiveDetector

from udfs.core.errors import MediaError
from udfs.demux.demuxer import Video
from udfs.video import decode, rescale
from udfs.video.rescale import Scaler

LONG_SIDE_PX = 256  # what the detector looks at; PySceneDetect's own command scales to it too
TICK = Fraction(1, 1_000_000)  # s, of the times given to the detector


def cuts(video: Video, detector: AdaptiveDetector) -> tuple[list[float], float]:
    """The times of the first frames after a cut, and the time at which the last frame ends, both in seconds.

    Raises:
        MediaError: CORRUPT if no frame decodes. What decodes of a damaged file is cut as if it were all.
    """
    scaler, size = Scaler(), _small(video.stream.width, video.stream.height)
    found: list[float] = []
    last_s = -1.0
    for last_s, frame in decode.frames(video):
        at = FrameTimecode(Timecode(round(last_s / TICK), TICK), fps=video.framerate)
        found += [float(cut.seconds) for cut in detector.process_frame(at, _picture(frame, size, scaler))]
    if last_s < 0:
        raise MediaError("CORRUPT", "no frame could be decoded")
    return found, last_s + float(1 / video.framerate)


def adaptive(threshold: float, min_content_val: float, window_width: int) -> AdaptiveDetector:
    """A fresh detector that reports every cut: scenes too short to use are dropped later, not merged into their neighbours."""
    return AdaptiveDetector(
        adaptive_threshold=threshold, min_content_val=min_content_val, window_width=window_width, min_scene_len=0
    )


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LONG_SIDE_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _picture(frame: VideoFrame, size: tuple[int, int], scaler: Scaler) -> npt.NDArray[np.uint8]:
    return rescale.scaled_pixels(frame, size, "bgr24", scaler, "BILINEAR")
