"""CPU cost of a copied clip in a short and in a long video, compared with one FFmpeg per clip.

The whole stage is measured as well: batches through the sandbox, its start included.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.support.footage import write_looped, write_numbered
from tests.support.odd_times import copy_packets
from udfs import clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.video import container

MINUTE_S, FPS, CLIP_S = 60, 24, 10
LENGTHS_MIN = (15, 120)
SAMPLED = 60  # clips of a video that FFmpeg cuts: all 720 take minutes
MOST_GROWTH = 1.5  # of the cost per clip, from the shorter video to the longer one
LEAST_RATIO = {27: None, 640: 10.0}  # clips of one source: least cost of FFmpeg per clip over that of the stage


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one minute, 640 x 360, with sound and a key frame every two seconds."""
    folder = tmp_path_factory.mktemp("minute")
    return write_numbered(
        folder / "minute.mp4", MINUTE_S * FPS, FPS, (640, 360), audio="aac", gop=48, options={"bf": "2"}
    )


def units(path: Path) -> list[Row]:
    """The units of work of a video, each with the spans of an hour."""
    facts = container.probe(str(path), Limits())
    video = facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path))}
    starts = range(0, int(facts["duration_s"]), CLIP_S)
    spans = [{"clip_id": f"{s}", "start_s": s, "end_s": s + CLIP_S, "num_frames": CLIP_S * FPS} for s in starts]
    per_unit = int(Params(mode="copy").unit_s) // CLIP_S
    return [video | {"spans": spans[i : i + per_unit]} for i in range(0, len(spans), per_unit)]


def copy_cost_s(path: Path, to: Path) -> tuple[int, float]:
    """The number of clips, and the CPU seconds per clip."""
    work, env = units(path), Env(media_root=str(to), fingerprint="0" * 16)
    started = time.process_time()
    clips = [row for unit in work for row in clip.cut_unit(unit, Params(mode="copy"), env)]
    cpu_s = time.process_time() - started
    assert all(row["exact"] and row["audio_codec"] == "aac" and row["audio_warning"] is None for row in clips)
    return len(clips), cpu_s / len(clips)


def stage_cost_s(path: Path, to: Path, num_clips: int) -> float:
    """CPU seconds per clip of the whole stage: batches of units through the sandbox, whose start counts too."""
    work = units(path)
    sandbox.stop()
    before = cpu_s()
    batches = iter([pd.DataFrame(work)])
    clips = pd.concat(clip.rows(batches, Params(mode="copy"), Env(media_root=str(to), fingerprint="0" * 16)))
    sandbox.stop()  # the time of a child counts once it has ended
    cost_s = (cpu_s() - before) / num_clips
    assert len(clips) == num_clips
    assert clips["exact"].all()
    assert (clips["audio_codec"] == "aac").all()
    return cost_s


def cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def ffmpeg_cost_s(path: Path, to: Path, length_s: int) -> float:
    """CPU seconds of one `ffmpeg -ss S -to T -c copy` per clip."""
    to.mkdir()
    count = min(SAMPLED, length_s // CLIP_S)
    before = cpu_s()
    for number in range(count):
        start_s = number * (length_s // count)
        command = ["ffmpeg", "-v", "error", "-ss", str(start_s), "-to", str(start_s + CLIP_S), "-i", str(path)]
        subprocess.run([*command, "-c", "copy", str(to / f"{number}.mp4")], check=True)
    return (cpu_s() - before) / count


def test_a_clip_of_a_long_video_costs_as_much_as_one_of_a_short_video(minute: Path, tmp_path: Path) -> None:
    cost_s = dict[int, float]()
    for length_min in LENGTHS_MIN:
        path = write_looped(minute, tmp_path / f"{length_min}.mp4", length_min, in_front=True)
        count, cost_s[length_min] = copy_cost_s(path, tmp_path / f"out{length_min}")
        print(f"\n{length_min} min: {count} clips, {cost_s[length_min] * 1000:.1f} ms of CPU per clip", end="")
        assert count == length_min * 60 // CLIP_S
    assert cost_s[LENGTHS_MIN[1]] < MOST_GROWTH * cost_s[LENGTHS_MIN[0]]


@pytest.mark.parametrize("num_clips", LEAST_RATIO)
def test_the_whole_stage_costs_a_tenth_of_one_ffmpeg_per_clip(num_clips: int, minute: Path, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("no program ffmpeg to compare with")
    length_s, goal = num_clips * CLIP_S, LEAST_RATIO[num_clips]
    looped = write_looped(minute, tmp_path / "looped.mp4", -(-length_s // MINUTE_S), in_front=True)
    path = copy_packets(looped, tmp_path / "source.mp4", {"movflags": "+faststart"}, end_s=length_s)
    stage_s = stage_cost_s(path, tmp_path / "out", num_clips)
    ffmpeg_s = ffmpeg_cost_s(path, tmp_path / "ffmpeg", length_s)
    is_met = goal is None or ffmpeg_s >= goal * stage_s
    print(f"\n{num_clips} clips: {stage_s * 1000:.1f} ms of CPU per clip, ffmpeg {ffmpeg_s * 1000:.1f} ms: ", end="")
    print(f"{ffmpeg_s / stage_s:.1f} times; goal {goal or 'none'}: {'met' if is_met else 'not met'}")
    assert is_met
