"""Tone mapping of HDR frames (PQ, HLG) to SDR, which is BT.709, limited range, 8 bits."""

from __future__ import annotations

import struct
import tempfile
from fractions import Fraction
from functools import lru_cache

import av.error
import numpy as np
import numpy.typing as npt
from av.filter.graph import Graph
from av.video.frame import VideoFrame

from udfs.core import filter_graph
from udfs.core.errors import MediaError
from udfs.video.picture import HLG, RANGES, SPACES, side_data

Array = npt.NDArray[np.float64]

BT709, LIMITED = 1, 1  # as AVColorSpace, AVColorPrimaries, AVColorTransferCharacteristic and AVColorRange number them
BASE = Fraction(1, 1000)
MAX_NITS = 10_000.0  # of PQ
# The peak assumed of a PQ master without metadata, and the nominal peak of an HLG display (ITU-R
# BT.2100).
USUAL_PEAK_NITS = 1000.0
# An 18 % gray card is 26 cd/m2 in HDR (ITU-R BT.2408-7, table 1), so SDR white is 26 / 0.18.
WHITE_NITS = 26 / 0.18
SDR_GAMMA = 2.4  # ITU-R BT.1886
# Matrices from linear RGB to that of BT.709, by FFmpeg's number of the primaries (ITU-R BT.2087-0;
# P3-D65).
TO_BT709 = {
    9: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    12: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
    1: ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}
LUMA = (0.2627, 0.6780, 0.0593)  # of R, G and B in BT.2020
STEPS = 33  # grid points of the table on each axis


class ToneMap:
    """Maps frames of one format to frames of `size` (width, height) and an 8-bit `pixel_format`.

    FFmpeg's filter `lut3d` looks up every pixel in a table that the formulas below give. FFmpeg's
    own `tonemap` needs zscale, which PyAV's FFmpeg lacks, and swscale clips at 203 cd/m2 without
    metadata.
    """

    def __init__(self, like: VideoFrame, size: tuple[int, int], pixel_format: str) -> None:
        """`like` is a frame whose size, format and color all frames share.

        Raises:
            MediaError: UNSUPPORTED for a color space that cannot be converted.
        """
        try:
            with tempfile.TemporaryDirectory() as folder:  # only until the filter has read the table
                self.graph = _graph(like, size, pixel_format, _write_table(f"{folder}/table.cube", like))
        except (av.error.FFmpegError, ValueError) as e:
            raise _unsupported(like, e) from e

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The mapped frame; the input stays unchanged.

        Raises:
            MediaError: UNSUPPORTED, as above.
        """
        try:
            self.graph.vpush(frame)
            mapped = self.graph.vpull()
        except av.error.MemoryError:  # the sandbox reports it
            raise
        except (av.error.FFmpegError, ValueError) as e:
            raise _unsupported(frame, e) from e
        mapped.colorspace = mapped.color_primaries = mapped.color_trc = BT709
        mapped.color_range = LIMITED
        return mapped


class Mapper:
    """Maps HDR frames to SDR; makes a new ToneMap when their size or color changes."""

    def __init__(self, pixel_format: str) -> None:
        self.pixel_format = pixel_format
        self.map: tuple[object, ToneMap] | None = None

    def __call__(self, frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
        """The mapped frame, of `size` (width, height).

        Raises:
            MediaError: UNSUPPORTED for a color space that cannot be converted.
        """
        shape = (*_shape(frame), size)
        if self.map is None or self.map[0] != shape:
            self.map = shape, ToneMap(frame, size, self.pixel_format)
        return self.map[1](frame)


def _shape(frame: VideoFrame) -> tuple[object, ...]:
    """The properties that all frames of one ToneMap share."""
    return frame.width, frame.height, frame.format.name, frame.color_trc, frame.colorspace, frame.color_range


def _unsupported(frame: VideoFrame, error: Exception) -> MediaError:
    return MediaError(
        "UNSUPPORTED", f"no tone mapping of {frame.format.name} of {SPACES.get(frame.colorspace)}: {error}"
    )


def _graph(like: VideoFrame, size: tuple[int, int], pixel_format: str, table: str) -> Graph:
    graph = filter_graph.new()
    space, color_range = SPACES.get(like.colorspace, "bt2020nc"), RANGES.get(like.color_range, "tv")
    source = f"video_size={like.width}x{like.height}:pix_fmt={like.format.name}:time_base={BASE}:pixel_aspect=1/1"
    steps = (
        ("buffer", f"{source}:colorspace={space}:range={color_range}"),
        ("scale", f"{size[0]}:{size[1]}:flags=area+accurate_rnd+full_chroma_int:in_range={color_range}:out_range=pc"),
        ("format", "gbrp10le"),
        ("lut3d", f"file={table}:interp=tetrahedral"),
        ("scale", "out_color_matrix=bt709:out_range=tv:flags=area+accurate_rnd"),
        ("format", pixel_format),
        ("buffersink", None),
    )
    graph.link_nodes(*(graph.add(name, arguments) for name, arguments in steps)).configure()
    return graph


def _write_table(path: str, like: VideoFrame) -> str:
    with open(path, "w", encoding="ascii") as file:
        file.write(f"LUT_3D_SIZE {STEPS}\n{table(like.color_trc, like.color_primaries, peak_nits(like))}")
    return path


def peak_nits(frame: VideoFrame) -> float:
    """The master's peak luminance in cd/m2: MaxCLL, or that of the mastering display."""
    if frame.color_trc == HLG:
        return USUAL_PEAK_NITS
    stated = 0.0
    if (light := side_data(frame, "CONTENT_LIGHT_LEVEL")) is not None and light.buffer_size >= 4:
        stated = float(struct.unpack_from("=I", bytes(light))[0])
    mastering = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if not stated and mastering is not None and mastering.buffer_size >= 88:
        # AVMasteringDisplayMetadata: 8 rationals of chromaticity, then the least and the greatest
        # luminance, and two flags.
        values = struct.unpack_from("=22i", bytes(mastering))
        stated = values[18] / values[19] if values[21] and values[19] else 0.0
    return min(max(stated, WHITE_NITS), MAX_NITS) if stated else USUAL_PEAK_NITS


@lru_cache(maxsize=8)
def table(transfer: int, primaries: int, peak: float) -> str:
    """The lines of a .cube file: the SDR colors of STEPS x STEPS x STEPS HDR colors.

    Red changes fastest.
    """
    steps = np.linspace(0, 1, STEPS)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    sdr = to_sdr(np.stack([red.ravel(), green.ravel(), blue.ravel()], axis=1), transfer, primaries, peak)
    return "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in sdr.tolist())


def to_sdr(signal: Array, transfer: int, primaries: int, peak: float) -> Array:
    """SDR colors (n x 3, 0-1, BT.709) of HDR colors (n x 3, 0-1), for a master of `peak` cd/m2."""
    nits = hlg_nits(signal) if transfer == HLG else pq_nits(signal)
    brightest = np.maximum(nits.max(axis=1, keepdims=True), 1e-6)
    linear = nits * (compress(brightest, peak) / brightest) / WHITE_NITS  # one factor for all three keeps the hue
    bt709 = linear @ np.array(TO_BT709.get(primaries, TO_BT709[9])).T
    return np.asarray(np.clip(bt709, 0, 1) ** (1 / SDR_GAMMA))


def compress(nits: Array, peak: float) -> Array:
    """Luminance in cd/m2 up to `peak`, compressed below SDR white (EETF, ITU-R BT.2390-10, 5.4.1).

    Values up to the knee stay; above it lies a Hermite spline.
    """
    whole = float(pq_signal(np.array(peak)))
    white = float(pq_signal(np.array(WHITE_NITS))) / whole
    knee = 1.5 * white - 0.5
    level = np.minimum(pq_signal(nits) / whole, 1.0)
    t = np.clip((level - knee) / max(1 - knee, 1e-9), 0, 1)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    return pq_nits(np.where(level < knee, level, bent) * whole)


def pq_nits(signal: Array) -> Array:
    """Luminance in cd/m2 of a PQ signal, 0-1 (SMPTE ST 2084)."""
    root = np.maximum(signal, 0) ** (32 / 2523)
    return np.asarray(MAX_NITS * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610))


def pq_signal(nits: Array) -> Array:
    """The PQ signal, 0-1, of a luminance in cd/m2 (SMPTE ST 2084)."""
    power = (np.maximum(nits, 0) / MAX_NITS) ** (2610 / 16384)
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32))


def hlg_nits(signal: Array) -> Array:
    """Luminance in cd/m2 of HLG colors (n x 3, 0-1) on a display of USUAL_PEAK_NITS.

    By ITU-R BT.2100, table 5.
    """
    low, high = signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    scene = np.where(signal <= 0.5, low, high)
    return np.asarray(USUAL_PEAK_NITS * scene * np.maximum(scene @ np.array(LUMA), 1e-12)[:, None] ** 0.2)
