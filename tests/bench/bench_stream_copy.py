"""CPU cost of a copied clip in a short and in a long video, compared with one FFmpeg per clip."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.footage import write_looped, write_numbered
from udfs import clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.video import container

MINUTE_S, FPS, CLIP_S, UNIT_S = 60, 24, 10, 300
LENGTHS_MIN = (15, 120)
SAMPLED = 60  # clips of the longer video that FFmpeg cuts: all 720 take minutes
MOST_GROWTH = 1.5  # of the cost per clip, from the shorter video to the longer one


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one minute, 640 x 360, with sound and a key frame every two seconds."""
    folder = tmp_path_factory.mktemp("minute")
    return write_numbered(
        folder / "minute.mp4", MINUTE_S * FPS, FPS, (640, 360), audio="aac", gop=48, options={"bf": "2"}
    )


def units(path: Path) -> list[Row]:
    """The units of work of a video, each with the spans of five minutes."""
    facts = container.probe(str(path), Limits())
    video = facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path))}
    starts = range(0, int(facts["duration_s"]), CLIP_S)
    spans = [{"clip_id": f"{s}", "start_s": s, "end_s": s + CLIP_S, "num_frames": CLIP_S * FPS} for s in starts]
    per_unit = UNIT_S // CLIP_S
    return [video | {"spans": spans[i : i + per_unit]} for i in range(0, len(spans), per_unit)]


def copy_cost_s(path: Path, to: Path) -> tuple[int, float]:
    """The number of clips, and the CPU seconds per clip."""
    work, env = units(path), Env(media_root=str(to), fingerprint="0" * 16)
    started = time.process_time()
    clips = [row for unit in work for row in clip.cut_unit(unit, Params(mode="copy"), env)]
    cpu_s = time.process_time() - started
    assert all(row["exact"] and row["audio_codec"] == "aac" and row["audio_warning"] is None for row in clips)
    return len(clips), cpu_s / len(clips)


def ffmpeg_cost_s(path: Path, to: Path) -> float:
    """CPU seconds of one `ffmpeg -ss S -t 10 -c copy` per clip."""
    to.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for number in range(SAMPLED):
        start_s = number * (LENGTHS_MIN[1] * 60 // SAMPLED)
        command = ["ffmpeg", "-v", "error", "-ss", str(start_s), "-i", str(path), "-t", str(CLIP_S), "-c", "copy"]
        subprocess.run([*command, str(to / f"{number}.mp4")], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / SAMPLED


def test_a_clip_of_a_long_video_costs_as_much_as_one_of_a_short_video(minute: Path, tmp_path: Path) -> None:
    cost_s = dict[int, float]()
    for length_min in LENGTHS_MIN:
        path = write_looped(minute, tmp_path / f"{length_min}.mp4", length_min, in_front=True)
        count, cost_s[length_min] = copy_cost_s(path, tmp_path / f"out{length_min}")
        print(f"\n{length_min} min: {count} clips, {cost_s[length_min] * 1000:.1f} ms of CPU per clip", end="")
        assert count == length_min * 60 // CLIP_S
    if shutil.which("ffmpeg"):
        print(f"; ffmpeg: {ffmpeg_cost_s(path, tmp_path / 'ffmpeg') * 1000:.1f} ms per clip of {LENGTHS_MIN[1]} min")
    assert cost_s[LENGTHS_MIN[1]] < MOST_GROWTH * cost_s[LENGTHS_MIN[0]]
