"""Two workers of a stage end at about the same time on a mixed library: measured CPU, real videos.

Every video is cut and every clip analyzed once. The tasks are packed as the stages pack them, by
the estimated cost, and for comparison by seconds; two workers take them in order, each when it is free.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support import clips
from tests.support.clip_units import unit
from tests.support.reels import real_clip
from udfs import analyze, clip
from udfs.core import media_cost, scheduling
from udfs.core.limits import Limits
from udfs.runtime.context import Env, Row
from udfs.video import container, decode

WORKERS = 2
MOST_UNEVEN = 1.1  # time at which the last worker ends over that at which the other ends
SIZES = ((320, 180), (640, 360), (1280, 720), (1920, 1080))
Encoding = tuple[str, str, str, dict[str, str]]  # encoder, suffix, pixel format, options
CODECS: dict[str, Encoding] = {
    "h264": ("libx264", "mp4", "yuv420p", {"preset": "fast", "crf": "23"}),
    "hevc": ("libx265", "mp4", "yuv420p", {"preset": "veryfast", "crf": "26", "x265-params": "log-level=none"}),
    "vp9": ("libvpx-vp9", "webm", "yuv420p", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
    "av1": ("libsvtav1", "mp4", "yuv420p", {"preset": "10", "crf": "32"}),
    "mpeg4": ("mpeg4", "mp4", "yuv420p", {"qscale": "4", "flags": "+qscale"}),
    "mpeg2": ("mpeg2video", "mpg", "yuv420p", {"qscale": "4", "flags": "+qscale"}),
    "prores": ("prores_ks", "mov", "yuv422p10le", {"profile": "2"}),
}
FPS = 25


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Videos of every codec and size, the larger ones shorter, so that their seconds say little."""
    folder = tmp_path_factory.mktemp("library")
    with container.open_video(str(real_clip("bigbuckbunny")), Limits()) as video:
        frames = [frame for _, frame in decode.frames(video)]
    made = []
    for number, (name, codec) in enumerate(CODECS.items()):
        for place, size in enumerate(SIZES):
            count = len(frames) * (4 - place) // 4 - 5 * number
            made.append(write(folder / f"{name}-{size[1]}.{codec[1]}", frames[:count], size, codec))
    return made


def write(path: Path, frames: list[VideoFrame], size: tuple[int, int], how: Encoding) -> Path:
    """Encode frames in another size."""
    codec, _, pix_fmt, options = how
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=FPS, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        for number, frame in enumerate(frames):
            scaled = frame.reformat(*size, format=pix_fmt)
            scaled.pts, scaled.time_base, scaled.pict_type = number, Fraction(1, FPS), 0
            out.mux(stream.encode(scaled))
        out.mux(stream.encode(None))
    return path


def ends_s(loads_s: list[float]) -> list[float]:
    """When each worker ends, if each takes the next task when it is free."""
    free = [0.0] * WORKERS
    for load_s in loads_s:
        heapq.heappush(free, heapq.heappop(free) + load_s)
    return sorted(free)


def unevenness(costs: list[float], measured_s: list[float], num_tasks: int) -> tuple[float, float]:
    """How much later the last worker ends than the first, over the tasks of a wave and over one task each."""
    ends = [
        ends_s([sum(measured_s[i] for i in task) for task in scheduling.pack(costs, count)])
        for count in (num_tasks, WORKERS)
    ]
    return ends[0][-1] / ends[0][0], ends[1][-1] / ends[1][0]


def report(stage: str, rows: list[Row], cost: Callable[[Row], float], measured_s: list[float]) -> float:
    """Print how evenly two workers end; returns it for tasks by the estimated cost."""
    costs, seconds = [cost(row) for row in rows], [float(row["duration_s"]) for row in rows]
    count = scheduling.num_tasks(costs, WORKERS, scheduling.Params())
    by_cost, by_seconds = unevenness(costs, measured_s, count), unevenness(seconds, measured_s, count)
    is_met = by_cost[0] <= MOST_UNEVEN
    print(f"\n{stage}: {len(rows)} inputs, {sum(measured_s):.1f} s of CPU; of two workers the last ends so many times")
    print(
        f"as late as the other: {by_cost[0]:.2f} with {count} tasks by cost, {by_seconds[0]:.2f} by seconds, ", end=""
    )
    print(f"{by_cost[1]:.2f} and {by_seconds[1]:.2f} with one task each; ", end="")
    print(f"goal {MOST_UNEVEN}: {'met' if is_met else 'not met'}")
    return by_cost[0]


def cpu_s(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result of some work, and its CPU seconds."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def test_two_workers_end_within_a_tenth_of_each_other(library: list[Path], tmp_path: Path) -> None:
    env = Env(media_root=str(tmp_path / "media"), fingerprint="0" * 16)
    units, cutting_s, made, measuring_s = list[Row](), list[float](), list[Row](), list[float]()
    for path in library:
        work = unit(path, (0, 10**6)) | {"num_bytes": path.stat().st_size}
        work["spans"][0] |= {"clip_id": path.stem, "end_s": work["duration_s"], "num_frames": None}
        (row,), spent_s = cpu_s(partial(clip.cut_unit, work, clip.Params(), env))
        units, cutting_s, made = [*units, work], [*cutting_s, spent_s], [*made, row]
        clip_row = clips.row(Path(row["uri"])) | row
        _, spent_s = cpu_s(partial(analyze.measure_clip, clip_row, analyze.Settings(), env))
        measuring_s.append(spent_s)
    cut = report("clip", units, lambda row: media_cost.transcoding(row, "libx264"), cutting_s)
    measured = report("analyze", made, media_cost.analyzing, measuring_s)
    assert cut <= MOST_UNEVEN
    assert measured <= MOST_UNEVEN
