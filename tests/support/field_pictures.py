"""A writer of H.264 field pictures (PAFF), as broadcasters send them; x264 writes none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tests.support.footage import draw
from tests.support.nal_units import Bits, nal_unit

MB = 16  # pixels, the side of a macroblock
I_PCM, I_SLICE, NO_DEBLOCKING = 25, 7, 1
SPS, PPS, IDR, SLICE = 0x67, 0x68, 0x65, 0x21  # first bytes of NAL units


def write(path: Path, num_frames: int, apart: bool = False, size: tuple[int, int] = (160, 128), fps: int = 25) -> Path:
    """Write numbered frames; both fields of a frame share a packet unless `apart`."""
    raw = path.with_suffix(".annexb")
    frames = [_fields(k, size) for k in range(num_frames)]
    units = [field for fields in frames for field in fields] if apart else [b"".join(fields) for fields in frames]
    raw.write_bytes(b"".join(units))
    with av.open(str(raw), format="h264") as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for k, unit in enumerate(units):
            packet = Packet(unit)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, fps * (1 + apart)), k, k
            packet.duration, packet.is_keyframe = 1, k == 0
            out.mux(packet)
    return path


def _fields(number: int, size: tuple[int, int]) -> list[bytes]:
    frame = VideoFrame.from_ndarray(draw(number, size), format="rgb24").reformat(format="yuv420p")
    planes = np.maximum(frame.to_ndarray().astype(np.uint8), 4)
    head = nal_unit(bytes([SPS]), _sps(size)) + nal_unit(bytes([PPS]), _pps()) if number == 0 else b""
    return [head + _field(number, planes, size, 0), _field(number, planes, size, 1)]


def _sps(size: tuple[int, int]) -> bytes:
    bits = Bits().u(77, 8).u(0, 8).u(30, 8).ue(0, 0, 0, 4, 1).u(0, 1)
    bits.ue(size[0] // MB - 1, size[1] // (2 * MB) - 1).u(0, 2).u(1, 1).u(0, 2)  # frames may be two fields
    return bits.u(1, 1).aligned()


def _pps() -> bytes:
    return Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0b1001, 3 + 1).aligned()


def _field(number: int, planes: NDArray[np.uint8], size: tuple[int, int], bottom: int) -> bytes:
    """A slice of uncompressed macroblocks."""
    is_idr = number == 0 and not bottom
    bits = Bits().ue(0, I_SLICE, 0).u(number % 16, 4).u(1, 1).u(bottom, 1)
    if is_idr:
        bits.ue(0)
    bits.u((2 * number + bottom) % 256, 8).u(0, 2 if is_idr else 1).ue(0, NO_DEBLOCKING)
    width, height = size
    luma = planes[:height][bottom::2]
    chroma = [plane.reshape(height // 2, width // 2)[bottom::2] for plane in np.split(planes[height:].reshape(-1), 2)]
    data = b""
    for y in range(height // 2 // MB):
        for x in range(width // MB):
            data += bits.ue(I_PCM).aligned() + luma[y * MB : (y + 1) * MB, x * MB : (x + 1) * MB].tobytes()
            half = slice(y * MB // 2, (y + 1) * MB // 2), slice(x * MB // 2, (x + 1) * MB // 2)
            data += b"".join(plane[half].tobytes() for plane in chroma)
            bits = Bits()
    return nal_unit(bytes([IDR if is_idr else SLICE]), data + b"\x80")
