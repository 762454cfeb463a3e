"""Videos with which decoding on a GPU has gone wrong elsewhere, each written by a function of a folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import broken_files, odd_pictures
from tests.support.clip_units import overwrite_packets
from tests.support.footage import write_numbered
from tests.support.odd_times import copy_packets, write_trimmed, write_uneven
from udfs.video.picture import PQ

WOVEN = {"flags": "+ilme+ildct", "x264-params": "interlaced=1:tff=1"}


def _numbered(name: str, **options: Any) -> Callable[[Path], Path]:
    return lambda folder: write_numbered(folder / name, **{"num_frames": 40} | options)


def _edit_list(folder: Path) -> Path:
    return write_trimmed(write_numbered(folder / "whole.mp4", 60, gop=30), folder / "a.mp4", 0.5)


def _truncated(folder: Path) -> Path:
    path = write_numbered(folder / "a.mkv", 60, gop=10)
    return broken_files.cut_to(path, folder / "cut.mkv", path.stat().st_size * 6 // 10)


def _noise(folder: Path) -> Path:
    return overwrite_packets(write_numbered(folder / "a.mp4", 60, gop=10), "video", slice(20, 24), keep=8)


def _without_first_key_frame(folder: Path) -> Path:
    whole = write_numbered(folder / "whole.mp4", 60, gop=20)
    return copy_packets(whole, folder / "a.ts", start_s=0.3)


def _two_sizes(folder: Path) -> Path:
    parts = [
        write_numbered(folder / f"{k}.ts", 20, size=size, first=20 * k)
        for k, size in enumerate([(320, 240), (160, 120)])
    ]
    return broken_files.join_files(folder / "a.ts", *parts)


def _interlaced(folder: Path) -> Path:
    return odd_pictures.write(folder / "a.mp4", odd_pictures.interlaced(30), options=WOVEN)


def _hdr(folder: Path) -> Path:
    pictures = itertools.repeat(odd_pictures.as_hdr(odd_pictures.bars(), PQ), 20)
    return odd_pictures.write(folder / "a.mp4", pictures, "libx265")


ODD: dict[str, Callable[[Path], Path]] = {
    "ten bits in H.264": _numbered("a.mp4", pix_fmt="yuv420p10le"),
    "ten bits in HEVC": _numbered("a.mp4", codec="libx265", pix_fmt="yuv420p10le"),
    "4:2:2": _numbered("a.mp4", pix_fmt="yuv422p"),
    "4:4:4": _numbered("a.mp4", pix_fmt="yuv444p"),
    "full range": _numbered("a.mp4", full_range=True),
    "HDR": _hdr,
    "odd sides": _numbered("a.webm", size=(321, 241), codec="libvpx-vp9"),
    "a size that is no multiple of 16": _numbered("a.mp4", size=(322, 182)),
    "hidden edges": _numbered("a.mp4", options={"x264-params": "crop-rect=16,8,0,0"}),
    "too small for a GPU": _numbered("a.mp4", size=(48, 48)),
    "turned": _numbered("a.mp4", rotation=90),
    "interlaced": _interlaced,
    "uneven times": lambda folder: write_uneven(folder / "a.mp4", [1 / 30, 1 / 10, 1 / 60, 1 / 30] * 10),
    "an edit list": _edit_list,
    "no key frame at the beginning": _without_first_key_frame,
    "a size that changes": _two_sizes,
    "a truncated tail": _truncated,
    "noise in packets": _noise,
    "a codec of no GPU": _numbered("a.mkv", codec="ffv1", pix_fmt="yuv422p10le"),
    "MPEG-4 in AVI": _numbered("a.avi", codec="mpeg4"),
}
