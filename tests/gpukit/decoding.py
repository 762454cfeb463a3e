"""NVDEC beside CPUs: frames, clips, signals and what models see are the same, and how fast they come."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from av.codec.hwaccel import HWAccel

from tests.gpukit.sizes import Size
from tests.support import clips
from tests.support.clip_units import unit
from tests.support.footage import write_looped
from tests.support.frame_reads import READS, Read
from tests.support.goals import Row
from udfs import analyze, clip
from udfs.core.gpu_device import Task
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env
from udfs.video import container, decode, nvdec

COMPARED = 100  # frames per video whose samples are compared
MOST_APART = 1  # of 255
SPAN = 100  # frames per clip
SCORED_ELSEWHERE = ("motion_source", "motion_score_global_mean", "motion_score_per_patch_min_256")
TIMES = (COST, GPU_COST)


def frames(folder: Path, work: Path, size: Size) -> Iterator[Row]:
    """Decode videos of several codecs, on the GPU and by one thread of the CPU."""
    for source in sorted(folder.glob("[!r]*.mp4")):
        # PyAV copies no packets of AV1: it looks for an encoder of the decoder's name.
        path = source if source.stem == "av1" else write_looped(source, work / source.name, size.repeats)
        count, cpu_s, _ = _decoded(path, None)
        rate = Row(f"{source.stem} 720p: decoded by one thread", count / cpu_s, "frames/s")
        yield rate
        if not size.on_gpu:
            continue
        accel = nvdec.accelerator(0)
        yield Row(f"{source.stem}: a GPU decodes", float(accel is not None), "", 1, "at least")
        gpu_count, gpu_s, formats = _decoded(path, accel)
        yield Row(f"{source.stem}: frames by NVDEC", float(formats == {"nv12"}), "", 1, "at least", str(formats))
        yield Row(f"{source.stem}: frames missing", float(count - gpu_count), "", 0)
        yield Row(f"{source.stem}: largest difference of a sample", _apart(path, accel), "", MOST_APART)
        detail = f"{gpu_count / gpu_s:.0f} frames/s"
        yield Row(f"{source.stem}: NVDEC beside one thread", cpu_s / gpu_s, "x", detail=detail)


def _decoded(path: Path, accel: HWAccel | None) -> tuple[int, float, set[str]]:
    """The number of frames, seconds, and the formats of frames."""
    formats, count, started = set[str](), 0, time.monotonic()
    with container.open_video(str(path), Limits(), accel) as video:
        for _, frame in decode.frames(video):
            formats.add(frame.format.name)
            count += 1
    return count, time.monotonic() - started, formats


def _apart(path: Path, accel: HWAccel | None) -> float:
    """The largest difference of a sample of the first frames, by the GPU and by the CPU."""
    most = 0
    with container.open_video(str(path), Limits()) as here, container.open_video(str(path), Limits(), accel) as there:
        both = zip(decode.frames(here), decode.frames(there), strict=True)
        for one, other in itertools.islice(both, COMPARED):
            pair = [frame.reformat(format="yuv420p").to_ndarray().astype(int) for _, frame in (one, other)]
            most = max(most, int(np.abs(pair[0] - pair[1]).max()))
    return float(most)


def stages(folder: Path, work: Path, size: Size) -> Iterator[Row]:
    """Cut and measure a video with NVDEC and without: equal rows, and how long they take."""
    path = write_looped(folder / "h264.mp4", work / "stages.mp4", size.repeats)
    with container.open_video(str(path), Limits()) as video:
        count = video.stream.frames
    spans = [(first, min(first + SPAN, count)) for first in range(0, count, SPAN)]
    row = unit(path, *spans, fingerprint="f")
    batch = pd.DataFrame([row | {"spans": np.array(row["spans"], dtype=object)}])

    def cut(hwaccel: nvdec.Hwaccel) -> pd.DataFrame:
        return _rows(clip.rows, batch, clip.Params(hwaccel=hwaccel), work)

    yield from _compared("clip", cut, (), size)
    made = pd.DataFrame([clips.row(path) | {"fingerprint": "f"}])

    def measure(hwaccel: nvdec.Hwaccel) -> pd.DataFrame:
        # Without hashes, which need SciPy, and without files.
        chosen = analyze.Params(hwaccel=hwaccel, phash=False, proxy=False, preview=False)
        return _rows(analyze.rows, made, analyze.Settings(chosen), work)

    yield from _compared("analyze", measure, SCORED_ELSEWHERE, size)


def reads(folder: Path, work: Path, size: Size) -> Iterator[Row]:
    """Read frames as the export of frames, embed, caption and TransNet V2 do, with NVDEC and without."""
    path = write_looped(folder / "h264.mp4", work / "reads.mp4", size.repeats)
    for name, read in READS.items():

        def hashes(hwaccel: nvdec.Hwaccel, read: Read = read) -> pd.DataFrame:
            arrays = read(path, hwaccel, work / "reads", _in_sandbox)
            sandbox.stop()
            return pd.DataFrame({"array": [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]})

        yield from _compared(f"{name}: frames read", hashes, (), size)


def _in_sandbox(function: Callable[..., Any], *args: Any) -> Any:
    return sandbox.call(function, *args, **sandbox.bounds(Limits().with_cuda()), needs=sandbox.Needs(gpu=True))


def _rows(stage: Callable[..., Iterator[pd.DataFrame]], batch: pd.DataFrame, params: Any, work: Path) -> pd.DataFrame:
    env = Env(media_root=str(work / "media"), fingerprint="0123456789abcdef", task=Task(gpus=("0",)))
    done = pd.concat(stage(iter([batch]), params, env), ignore_index=True)
    assert done[FAILURE[0]].isna().all(), done[FAILURE[2]].tolist()
    return done


def _compared(
    name: str, work: Callable[[nvdec.Hwaccel], pd.DataFrame], apart: tuple[str, ...], size: Size
) -> Iterator[Row]:
    started = time.monotonic()
    by_cpu = work("none")
    cpu_s = time.monotonic() - started
    yield Row(f"{name}: on one core", cpu_s, "s")
    if not size.on_gpu:
        return
    started = time.monotonic()
    by_gpu = work("cuda")
    gpu_s = time.monotonic() - started
    columns = [column for column in by_cpu.columns if column not in (*apart, *TIMES)]
    texts = [{column: rows[column].astype(str).tolist() for column in columns} for rows in (by_cpu, by_gpu)]
    differ = [column for column in columns if texts[0][column] != texts[1][column]]
    yield Row(f"{name}: columns that differ with NVDEC", len(differ), "", 0, detail=" ".join(differ))
    yield Row(f"{name}: with NVDEC beside without", cpu_s / gpu_s, "x", detail=f"{gpu_s:.1f} s, start of CUDA included")
