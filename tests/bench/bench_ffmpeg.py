"""CPU seconds of cutting clips, beside one ffmpeg process per clip with the same settings."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bench import material, work
from tests.support import spent
from tests.support.goals import Report, Row
from tests.support.spent import Spent
from udfs.clip import Params
from udfs.video.encoder_options import options

CLIP_S = 10.0
ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
NUM_COPIES = int(os.environ.get("REELMILL_BENCH_COPIES", "640"))  # clips of one film
COPY_FASTER, TRANSCODE_MOST = 10.0, 1.05

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="there is no ffmpeg program")


def by_ffmpeg(path: Path, cut: work.Spans, folder: Path, codec: list[str]) -> int:
    """Write the spans of a video, each by a process of its own; the number of clips."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, (start_s, end_s) in enumerate(cut):
        span = ["-ss", f"{start_s}", "-i", str(path), "-t", f"{end_s - start_s}"]
        subprocess.run(["ffmpeg", "-v", "error", *span, *codec, str(folder / f"{number}.mp4")], check=True)
    return len(list(folder.iterdir()))


def by_us(path: Path, folder: Path, mode: str) -> int:
    """Write the spans of a video as the stage does; the number of clips."""
    shutil.rmtree(folder, ignore_errors=True)
    return len(work.cut(str(path), str(folder), work.settings(CLIP_S, mode, motion_only=True)))


def compare(path: Path, tmp_path: Path, mode: str, codec: list[str]) -> dict[str, Spent]:
    """The medians of both ways to cut a video."""
    cut = work.spans(str(path), work.settings(CLIP_S, motion_only=True))
    return spent.compared(
        {
            "ffmpeg": lambda: spent.here(lambda: by_ffmpeg(path, cut, tmp_path / "ffmpeg", codec)),
            "ours": lambda: spent.here(lambda: by_us(path, tmp_path / "ours", mode)),
        },
        ROUNDS,
    )


def test_copied_clips_take_less_than_a_process_each(report: Report, minutes: list[Path], tmp_path: Path) -> None:
    num_minutes = -(-NUM_COPIES * int(CLIP_S) // 60)
    [path] = material.film(num_minutes, minutes[0]).resolve().iterdir()
    both = compare(path, tmp_path, "copy", ["-c", "copy"])
    what = f"{both['ours'].answer} clips copied from one film: CPU of one ffmpeg per clip over ours"
    report.add(Row(what, both["ffmpeg"].cpu_s / both["ours"].cpu_s, "x", COPY_FASTER, "at least", _detail(both)))


def test_transcoded_clips_take_no_more_than_a_process_each(report: Report, minutes: list[Path], tmp_path: Path) -> None:
    x264 = [part for name, value in options(Params(), None).items() for part in (f"-{name}", value)]
    codec = ["-c:v", "libx264", "-threads", "1", *x264, "-pix_fmt", "yuv420p", "-c:a", "copy"]
    both = compare(minutes[0].resolve(), tmp_path, "transcode", ["-threads", "1", *codec])
    what = f"{both['ours'].answer} clips transcoded: our CPU over that of one ffmpeg per clip"
    report.add(Row(what, both["ours"].cpu_s / both["ffmpeg"].cpu_s, "x", TRANSCODE_MOST, "at most", _detail(both)))


def _detail(both: dict[str, Spent]) -> str:
    return f"ffmpeg {both['ffmpeg']}; ours {both['ours']}"
