"""HEVC with Dolby Vision's metadata (RPU), as streaming services and phones write it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

RPU_NAL = b"\x7c\x01"  # the header of a NAL unit of type 62, which HEVC leaves unspecified
SIZE, NUM_FRAMES = (160, 120), 30


def write(path: Path, profile: int) -> Path:
    """A video of grays of Dolby Vision's profile 5, without a base that others can show, or 8, with one."""
    unit = b"\0\0\0\1" + RPU_NAL + _escaped(_rpu(vdr_rpu_profile=0 if profile == 5 else 1, full_range=profile == 5))
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
    header = [_u(6, 2), _u(11, 18), _u(4, vdr_rpu_profile), _u(4, 0), _u(1, 1), _u(1, 0), _u(2, 0), _ue(23), _u(2, 1)]
    header += [_u(1, full_range), _ue(2), _ue(2), _ue(4), _u(6, 0b000001), _u(2, 0), _ue(0), _ue(0), _ue(0)]
    pivots = [_ue(0), _u(10, 0), _u(10, 1023)]
    polynomial = [_ue(0), _ue(0), _u(1, 0), _ue(0), _u(23, 0), _ue(1), _u(23, 0)]  # 0 + 1 x
    bits = "".join([*header, *(3 * pivots), _ue(0), _ue(0), *(3 * polynomial)])
    bits += "0" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x19" + body + _crc32(body).to_bytes(4, "big") + b"\x80"


def _u(length: int, value: int) -> str:
    return format(value, f"0{length}b")


def _ue(value: int) -> str:
    """A number in Exp-Golomb's code."""
    return "0" * ((value + 1).bit_length() - 1) + format(value + 1, "b")


def _crc32(data: bytes) -> int:
    """The checksum of MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _escaped(data: bytes) -> bytes:
    """A NAL unit's bytes without a start code among them."""
    out, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
