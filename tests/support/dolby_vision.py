"""HEVC with Dolby Vision's metadata (RPU), as streaming services and phones write it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support.nal_units import Bits, nal_unit

RPU = b"\x7c\x01"  # the header of a NAL unit of type 62, which HEVC leaves unspecified
SIZE, NUM_FRAMES = (160, 120), 30


def write(path: Path, profile: int) -> Path:
    """A video of grays of Dolby Vision's profile 5, without a base that others can show, or 8, with one."""
    unit = nal_unit(RPU, _rpu(vdr_rpu_profile=0 if profile == 5 else 1, full_range=profile == 5))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx265", 25, options={"x265-params": "log-level=0"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p10le"
        pictures = [np.full((SIZE[1], SIZE[0], 3), 8 * number, np.uint8) for number in range(NUM_FRAMES)]
        for number, picture in enumerate([*pictures, None]):
            frame = None if picture is None else VideoFrame.from_ndarray(picture).reformat(format="yuv420p10le")
            if frame:
                frame.pts = number
            for packet in stream.encode(frame):
                with_rpu = av.Packet(bytes(packet) + unit)
                with_rpu.pts, with_rpu.dts, with_rpu.time_base = packet.pts, packet.dts, packet.time_base
                with_rpu.stream, with_rpu.is_keyframe = stream, packet.is_keyframe
                out.mux(with_rpu)
    return path


def _rpu(vdr_rpu_profile: int, *, full_range: bool) -> bytes:
    """The least metadata that FFmpeg's parser takes (libavcodec/dovi_rpudec.c): values as they are, no colors."""
    bits = Bits().u(2, 6).u(18, 11).u(vdr_rpu_profile, 4).u(0, 4).u(0b1000, 4).ue(23).u(1, 2).u(full_range, 1)
    bits.ue(2, 2, 4).u(0b00000100, 8).ue(0, 0, 0)  # bit depths; no other layer; no colors; spaces
    for _ in range(3):
        bits.ue(0).u(0, 10).u(1023, 10)  # one piece from 0 to 1023
    bits.ue(0, 0)
    for _ in range(3):
        bits.ue(0, 0).u(0, 1).ue(0).u(0, 23).ue(1).u(0, 23)  # 0 + 1 x
    body = bits.aligned()
    return b"\x19" + body + _crc32(body).to_bytes(4, "big") + b"\x80"


def _crc32(data: bytes) -> int:
    """The checksum of MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc
