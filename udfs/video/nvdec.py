"""Decoding on a GPU by NVDEC: whether it works, tried once per process; on which GPU; and the CPU in its place."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Literal, TypeVar

import av.error
from av.codec.codec import Codec
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from udfs.core import gpu_device
from udfs.core.errors import MediaError
from udfs.core.gpu_device import Task
from udfs.core.task_resources import Resources
from udfs.video.ffmpeg_log import captured_errors, last_message

log = logging.getLogger("reelmill")

T = TypeVar("T")
Hwaccel = Literal["none", "cuda"]
DEFAULT_GPU_SHARE = 1 / 3  # of a GPU per task: the task's core is busy for longer than the GPU's encoder and decoder
PROBE_SIDE_PX, PROBE_FRAMES = 256, 3


class DecoderError(Exception):
    """A GPU that does not decode; the text is one line."""


@dataclass(frozen=True)
class Place:
    """Where a task decodes: on its GPU if `hwaccel` is cuda, else on the CPU."""

    hwaccel: Hwaccel = "none"
    task: Task = field(default_factory=Task)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU may decode."""
        return self.hwaccel == "cuda"

    def accelerator(self) -> HWAccel | None:
        """The accelerator of the task's GPU; None where the CPU decodes."""
        return accelerator(gpu_index(self.task)) if self.on_gpu else None

    def decode(self, work: Callable[[HWAccel | None], T]) -> T:
        """What `work` returns with the task's accelerator, or without one where that fails.

        Raises:
            MediaError: `work` fails on the CPU.
        """
        accel = self.accelerator()
        if accel is not None:
            with suppress(MediaError):  # the GPU may have failed, or only FFmpeg's own decoder can decode the video
                return work(accel)
        return work(None)


CPU = Place()


def check_gpus(hwaccel: Hwaccel, resources: Resources) -> None:
    """Refuse to decode on a GPU in a stage whose tasks have none.

    Raises:
        ValueError: `hwaccel` is cuda, and the tasks take no GPU.
    """
    if hwaccel == "cuda" and not resources.gpus:
        raise ValueError("hwaccel cuda: the tasks have no GPU to decode on: set resources.gpus, such as 0.25")


def gpu_resources(resources: Resources, on_gpu: bool) -> Resources:
    """A task's resources, with a share of a GPU if it encodes or decodes there."""
    return replace(resources, gpus=(resources.gpus or DEFAULT_GPU_SHARE) if on_gpu else 0.0)


def gpu_index(task: Task) -> int:
    """The number of the task's GPU as CUDA counts in this process; 0 without a GPU."""
    return gpu_device.index(task, num_visible_gpus())


@cache
def num_visible_gpus() -> int:
    """The number of GPUs by CUDA's driver: importing torch would take seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


@cache
def accelerator(gpu: int) -> HWAccel | None:
    """The argument that makes PyAV decode on a GPU; None, with a warning, if a test clip fails.

    A codec or profile that the GPU lacks is decoded in software.
    """
    accel = _hwaccel(gpu, or_software=True)
    try:
        check_decoder(gpu)
        _open_contexts.append(accel.create(Codec("h264", "r")))
    except (DecoderError, av.error.FFmpegError) as e:
        log.warning("NVDEC does not decode on GPU %d (%s): videos are decoded in software", gpu, e)
        return None
    return accel


_open_contexts: list[HWAccel] = []  # keep the GPU's context open, which each file would otherwise create again


def check_decoder(gpu: int) -> None:
    """Check that a GPU decodes by decoding a few frames on it.

    Raises:
        DecoderError: it does not.
    """
    with captured_errors() as logs:
        try:
            context = VideoCodecContext.create("h264", "r", hwaccel=_hwaccel(gpu, or_software=False))
            frames = [frame for packet in [*_probe_packets(), None] for frame in context.decode(packet)]
        except av.error.FFmpegError as e:
            raise DecoderError(last_message(logs, e)) from e
    if [frame.format.name for frame in frames] != ["nv12"] * PROBE_FRAMES:
        raise DecoderError(f"{len(frames)} of {PROBE_FRAMES} frames came back")


def _hwaccel(gpu: int, or_software: bool) -> HWAccel:
    # The primary context is one per process; without this option there is one per file.
    return HWAccel("cuda", device=gpu, allow_software_fallback=or_software, options={"primary_ctx": "1"})


def _probe_packets() -> Iterator[Packet[VideoStream]]:
    """The packets of a tiny H.264 clip of gray frames."""
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
