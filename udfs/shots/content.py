"""Cut detection by PySceneDetect's adaptive content detector."""

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

LONG_SIDE_PX = 256  # of the frames that the detector compares; PySceneDetect's own command scales to it too
TICK = Fraction(1, 1_000_000)  # seconds, the resolution of the times that the detector gets


def cut_times(video: Video, detector: AdaptiveDetector) -> tuple[list[float], float]:
    """The time of the first frame after each cut, and the end of the last frame, in seconds.

    A damaged file is treated as if it held only the frames that decode.

    Raises:
        MediaError: CORRUPT if no frame decodes.
    """
    scaler, size = Scaler(), _detector_size(video.stream.width, video.stream.height)
    cuts_s: list[float] = []
    last_s = -1.0
    for last_s, frame in decode.frames(video):
        at = FrameTimecode(Timecode(round(last_s / TICK), TICK), fps=video.framerate)
        cuts_s += [float(cut.seconds) for cut in detector.process_frame(at, _bgr_picture(frame, size, scaler))]
    if last_s < 0:
        raise MediaError("CORRUPT", "no frame could be decoded")
    return cuts_s, last_s + float(1 / video.framerate)


def adaptive_detector(threshold: float, min_content_val: float, window_width: int) -> AdaptiveDetector:
    """A new detector, for one video, that reports every cut.

    Its min_scene_len is 0 because scenes that are too short are dropped later; PySceneDetect would
    merge them into their neighbors.
    """
    return AdaptiveDetector(
        adaptive_threshold=threshold, min_content_val=min_content_val, window_width=window_width, min_scene_len=0
    )


def _detector_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, LONG_SIDE_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _bgr_picture(frame: VideoFrame, size: tuple[int, int], scaler: Scaler) -> npt.NDArray[np.uint8]:
    return rescale.scaled_pixels(frame, size, "bgr24", scaler, "BILINEAR")
