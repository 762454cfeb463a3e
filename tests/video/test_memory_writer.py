"""Video files in memory: every frame at its time, and equal bytes for equal frames."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest
from av.video.frame import VideoFrame

from tests.support.footage import draw, read_number
from udfs.core.errors import MediaError
from udfs.video.memory_writer import MemoryWriter

TIMES_S = [0.0, 0.25, 1.0]


def encoded(end_s: float) -> bytes:
    frames = [VideoFrame.from_ndarray(draw(k, (160, 120)), format="rgb24").reformat(format="yuv420p") for k in range(3)]
    writer = MemoryWriter(("mp4", "libx264"), frames[0], Fraction(1, 1000), {})
    for at_s, frame in zip(TIMES_S, frames, strict=True):
        writer.add(at_s, frame)
    assert writer.num_frames == 3
    return writer.close(end_s)


def test_frames_keep_their_times_and_the_last_one_stays_to_the_end() -> None:
    with av.open(io.BytesIO(encoded(3.0)), "r") as file:
        stream = file.streams.video[0]
        frames = list(file.decode(video=0))
        duration_s = float((stream.duration or 0) * (stream.time_base or 0))
    assert [frame.time for frame in frames] == pytest.approx(TIMES_S)
    assert [read_number(frame) for frame in frames] == [0, 1, 2]
    assert duration_s == pytest.approx(3.0, abs=0.002)


def test_equal_frames_give_equal_bytes() -> None:
    assert encoded(2.0) == encoded(2.0)


def test_a_frame_that_the_encoder_refuses_is_unsupported() -> None:
    with pytest.raises(MediaError, match="UNSUPPORTED: libx264 refuses the frame"):
        MemoryWriter(("mp4", "libx264"), VideoFrame(161, 121, "yuv420p"), Fraction(1, 1000), {}).add(
            0.0, VideoFrame(161, 121, "yuv420p")
        )
