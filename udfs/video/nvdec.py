"""The GPU of a task -> whether NVDEC decodes on it, tried once a process, and what a file is opened with for that."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Literal

import av.error
from av.codec.codec import Codec
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core import gpu_device
from udfs.core.gpu_device import Task
from udfs.core.task_resources import Resources
from udfs.video.ffmpeg_log import heard, last

log = logging.getLogger("reelmill")

Hwaccel = Literal["none", "cuda"]
SHARE = 1 / 3  # of a GPU a task: the task's own core is busy for longer than the encoder and the decoder of a card
PROBE_SIDE_PX, PROBE_FRAMES = 256, 3


class DecoderError(Exception):
    """A GPU that does not decode; its text is one line."""


def taken(wanted: Resources, on_gpu: bool) -> Resources:
    """What a task of a stage takes whose codecs may work on a GPU; without them it takes none, whatever is wanted."""
    return replace(wanted, gpus=(wanted.gpus or SHARE) if on_gpu else 0.0)


def index(task: Task) -> int:
    """The number of the task's GPU as CUDA counts in this process; 0 where there is none."""
    return gpu_device.index(task, visible())


@cache
def visible() -> int:
    """How many GPUs CUDA shows to this process; asked of the driver, for torch takes seconds to import."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


@cache
def decoder(gpu: int) -> HWAccel | None:
    """What opens a file to be decoded on a GPU; None, with one warning, where a clip that is made here does not decode on it."""
    accel = _accel(gpu, or_software=True)  # a codec or profile that the card lacks is decoded in software, file by file
    try:
        check(gpu)
        _kept.append(accel.create(Codec("h264", "r")))
    except (DecoderError, av.error.FFmpegError) as e:
        log.warning("NVDEC does not decode on GPU %d (%s): videos are decoded in software", gpu, e)
        return None
    return accel


_kept: list[HWAccel] = []  # hold the GPU's context, which each file would otherwise wait for anew


def check(gpu: int) -> None:
    """Decode a few frames on a GPU: only that tells whether it can.

    Raises:
        DecoderError: it cannot.
    """
    with heard() as logs:
        try:
            context = VideoCodecContext.create("h264", "r", hwaccel=_accel(gpu, or_software=False))
            frames = [frame for packet in [*_probe(), None] for frame in context.decode(packet)]
        except av.error.FFmpegError as e:
            raise DecoderError(last(logs, e)) from e
    if [frame.format.name for frame in frames] != ["nv12"] * PROBE_FRAMES:
        raise DecoderError(f"{len(frames)} of {PROBE_FRAMES} frames came back")


def _accel(gpu: int, or_software: bool) -> HWAccel:
    # The primary context: one a process, not one a file.
    return HWAccel("cuda", device=gpu, allow_software_fallback=or_software, options={"primary_ctx": "1"})


def _probe() -> Iterator[Packet[VideoStream]]:
    """A tiny H.264 clip of grey frames."""
    context = VideoCodecContext.create("libx264", "w")
    context.width = context.height = PROBE_SIDE_PX
    context.pix_fmt, context.time_base, context.thread_count = "yuv420p", Fraction(1, 30), 1
    for number in range(PROBE_FRAMES):
        frame = VideoFrame(PROBE_SIDE_PX, PROBE_SIDE_PX, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = number, context.time_base
        yield from context.encode(frame)
    yield from context.encode(None)
