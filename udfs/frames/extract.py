"""Frame extraction: upright RGB pictures of a video at given times, rates or counts."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import av.error
import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame

from udfs.core.heartbeat import beat
from udfs.core.limits import Limits, Tally
from udfs.demux.demuxer import Video
from udfs.frames.target_size import Fit as Fit
from udfs.frames.target_size import exact_size as exact_size
from udfs.frames.target_size import pixel_budget as pixel_budget
from udfs.frames.target_size import short_side as short_side
from udfs.frames.target_size import target_res as target_res
from udfs.frames.timestamps import Times as Times
from udfs.frames.timestamps import frames_on_screen, middles, nearest_frames
from udfs.storage.remote_file import AnyPath
from udfs.video import container, decode, rescale
from udfs.video.picture import sample_aspect
from udfs.video.rescale import Scaler

Pictures = npt.NDArray[np.uint8]  # frames x height x width x 3, RGB
Policy = Literal["first", "middle", "last"]

AFTER_ANY_VIDEO_S = 1e15


def evenly_spaced_frames(
    path: AnyPath, num_frames: int, fit: Fit, limits: Limits, accel: HWAccel | None = None
) -> tuple[Times, Pictures]:
    """The frames on screen at the middles of `num_frames` equal parts of the clip.

    Their times are the frames' own. A clip that has fewer frames shows some of them more than once.
    The whole clip is decoded, by `accel` as in `container.open_video`.

    Raises:
        MediaError: the file cannot be opened (see `container.open_video`); CORRUPT or PARTIAL if
            too little of it decodes.
    """
    times_s = middles(_packet_times(path, limits)[1], num_frames)
    with container.open_video(path, limits, accel) as video:
        frames = _converted(video, frames_on_screen(decode.frames(video), times_s), fit)
        video.tally.check(video.num_expected_frames, limits)
    return frames


def frames_at(
    path: AnyPath, at_s: Sequence[float], fit: Fit, limits: Limits, accel: HWAccel | None = None
) -> tuple[Times, Pictures]:
    """The frames on screen at the times `at_s`; after the end, the last frame.

    Their times are the frames' own. `at_s` holds at least one time and rises. Nothing is decoded
    outside the stretch between its first and last time, except back to the key frame before it.

    Raises:
        MediaError: as `evenly_spaced_frames`.
    """
    starts_s, _ = _packet_times(path, limits, check=True)
    return _frames_from_key_frame(path, np.asarray(at_s, np.float64), starts_s, fit, limits, accel)


def single_frame(
    path: AnyPath, policy: Policy, fit: Fit, limits: Limits, accel: HWAccel | None = None
) -> tuple[Times, Pictures]:
    """The first frame, the last, or the one on screen in the middle of the duration.

    Raises:
        MediaError: as `evenly_spaced_frames`. The first frame of a damaged video is returned as
            long as that frame decodes.
    """
    if policy == "first":
        return _frames_from_key_frame(path, np.zeros(1), np.zeros(1), fit, limits, accel)
    starts_s, duration_s = _packet_times(path, limits, check=True)
    time_s = middles(duration_s, 1) if policy == "middle" else np.array([AFTER_ANY_VIDEO_S])
    return _frames_from_key_frame(path, time_s, starts_s, fit, limits, accel)


def frame_sequences(path: AnyPath, fps: Sequence[float], fit: Fit, limits: Limits) -> list[tuple[Times, Pictures]]:
    """The samples of `stream_samples` as one pair of arrays per rate, all in memory.

    Raises:
        MediaError: as `evenly_spaced_frames`.
    """
    times, pictures = [list[float]() for _ in fps], [list[Pictures]() for _ in fps]
    for rate, at_s, picture in stream_samples(path, fps, fit, limits):
        times[rate].append(at_s)
        pictures[rate].append(picture)
    return [
        (np.array(rate_times), np.stack(rate_pictures))
        for rate_times, rate_pictures in zip(times, pictures, strict=True)
    ]


def stream_samples(
    path: AnyPath, fps: Sequence[float], fit: Fit, limits: Limits, accel: HWAccel | None = None
) -> Iterator[tuple[int, float, Pictures]]:
    """Sample a video at several rates in one decode.

    Yields (index of the rate, the frame's own time, picture). A frame that is sampled more than
    once gives the same array each time. A damaged video raises only after its last good frame.

    Raises:
        MediaError: as `evenly_spaced_frames`.
    """
    with container.open_video(path, limits, accel) as video:
        converter = _FrameConverter(video, fit)
        for rate, at_s, frame in nearest_frames(decode.frames(video), fps):
            yield rate, at_s, converter.picture(frame)
        video.tally.check(video.num_expected_frames, limits)


class _FrameConverter:
    """Converts frames of one video to pictures, all of the size that `fit` gives for the first."""

    def __init__(self, video: Video, fit: Fit) -> None:
        self.video, self.fit, self.scaler = video, fit, Scaler()
        self.size: tuple[int, int] | None = None
        self.last: tuple[VideoFrame, Pictures] | None = None

    def picture(self, frame: VideoFrame) -> Pictures:
        self.size = self.size or self.fit(*rescale.upright_size(frame, self.scaler, sample_aspect(self.video.stream)))
        if self.last is None or self.last[0] is not frame:
            shown = rescale.planar_frame(frame) if self.video.is_on_gpu else frame
            self.last = frame, rescale.upright_pixels(shown, self.size, self.scaler)
        return self.last[1]


def _converted(video: Video, frames: Iterator[tuple[float, VideoFrame]], fit: Fit) -> tuple[Times, Pictures]:
    converter = _FrameConverter(video, fit)
    pairs = [(at_s, converter.picture(frame)) for at_s, frame in frames]
    return np.array([at_s for at_s, _ in pairs]), np.array([picture for _, picture in pairs], dtype=np.uint8)


def _frames_from_key_frame(
    path: AnyPath, times_s: Times, starts_s: Times, fit: Fit, limits: Limits, accel: HWAccel | None
) -> tuple[Times, Pictures]:
    """The frames on screen at `times_s`.

    Decoding begins at the last frame start no later than the first of these times. If nothing
    decodes from there, the decode begins again at the start of the video.
    """
    starts_before_s = starts_s[starts_s <= times_s[0]]
    for start_s in dict.fromkeys((float(starts_before_s.max(initial=0.0)), 0.0)):
        with container.open_video(path, limits, accel) as video:
            on_screen = frames_on_screen(decode.frames(video, start_s), times_s)
            frames = _converted(video, islice(on_screen, len(times_s)), fit)
            if len(frames[0]) or start_s == 0.0:
                video.tally.check(0, limits)
                break
    return frames


def _packet_times(path: AnyPath, limits: Limits, *, check: bool = False) -> tuple[Times, float]:
    """The start of each frame and the end of the last one, in seconds, as the packets state them.

    Headers cannot be trusted for this: with uneven frame rates they may end early, and a live
    stream has no duration. Where the packets state no times, the only start is 0.

    With `check`, missing or damaged packets raise MediaError, as missing frames do where the whole
    video is decoded.
    """
    starts, end_s, tally = array("d"), -math.inf, Tally()  # Python floats of a day's video would take 300 MB
    with container.open_video(path, limits) as video:
        duration_s = video.duration_s
        try:
            for packet in video.container.demux(video.stream):
                beat()
                video.num_hidden_packets += packet.is_discard
                tally.frames += packet.size > 0
                tally.corrupt += packet.is_corrupt
                if packet.pts is not None and packet.time_base is not None and not packet.is_discard:
                    starts.append(float(packet.pts * packet.time_base))
                    end_s = max(end_s, starts[-1] + float((packet.duration or 0) * packet.time_base))
        except av.error.FFmpegError:  # decoding reports what is wrong
            del starts[:]
        if check:
            tally.check(video.num_expected_frames, limits)
        are_known = bool(starts) and not video.shows_by_decode_time
    starts_s = np.sort(np.array(starts)) - min(starts) if are_known else np.zeros(1)
    return starts_s, end_s - min(starts) if starts else duration_s
