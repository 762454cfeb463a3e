"""Runs and queries over a library of a million clips or more (CLIPS, or $REELMILL_BENCH_CLIPS), see library.py.

The library is made once in build/bench and kept; each run adds its new videos to it. Goals are those
for ten million clips.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.bench import library, material
from tests.bench.library import Library
from tests.support import spent
from tests.support.footage import write_numbered
from tests.support.goals import Report, Row
from tests.support.spent import Spent

CLIPS = int(os.environ.get("REELMILL_BENCH_CLIPS", "1000000"))
NUM_NEW = 20
IDLE_S, MEMORY_MB, NEW, QUERY_S, THRESHOLD_S = 60.0, 6144.0, 1.3, 5.0, 120.0
QUERIES = {
    "the funnel": "SELECT * FROM funnel",
    "reasons": "SELECT reasons, count(*) FROM verdicts GROUP BY reasons",
    "a histogram of motion scores": "SELECT floor(motion_score_global_mean * 1000) AS step, count(*) "
    "FROM verdicts GROUP BY 1 ORDER BY 1",
    "the story of one clip": "SELECT v.*, o.preview FROM verdicts v JOIN clip_origins o USING (clip_id) "
    "WHERE v.clip_id = '{clip_id}'",
    "kept clips that move": "SELECT count(*), sum(duration_s) FROM curated WHERE motion_score_global_mean > 0.002",
    "what failed": "SELECT stage, code, count(*) FROM failed GROUP BY ALL ORDER BY ALL",
    "the runs": "SELECT * FROM run_summary ORDER BY started_at",
}
THRESHOLD = ("filter.motion=true", "filter.motion_global_mean_threshold=0.002")


@pytest.fixture(scope="module")
def made() -> Library:
    """The library."""
    wanted = Library(material.HOME.parent.resolve() / f"library-{CLIPS}", CLIPS, library.real_run())
    library.make(wanted)
    return wanted


def reelmill(*arguments: str, settings: tuple[str, ...] = ()) -> Spent:
    """Run the command line in a process of its own."""
    return spent.run([sys.executable, "-m", "jobs", *arguments, *(f"--set={setting}" for setting in settings)])


def curate(folder: Path, output: Path, *settings: str) -> Spent:
    """Curate a folder of videos into an output."""
    return reelmill("curate", "--manifest", str(folder), "--output", str(output), settings=settings)


def new_videos(folder: Path, number: int, seconds: float) -> Path:
    """A folder with new small videos, which differ from those of every other folder."""
    folder.mkdir(parents=True)
    first = int(time.time()) % 50_000
    for i in range(number):
        write_numbered(folder / f"{i:04}.mp4", round(25 * seconds), 25, first=first + i, cuts=(i % 20,))
    return folder


def test_a_run_after_another_program_has_written(made: Library, report: Report, tmp_path: Path) -> None:
    """It looks at every row, and notes that nothing is left; a run with a new video notes counts of links."""
    what = f"{CLIPS:,} clips: curate where nothing is known of the tables, wall"
    report.add(Row(what, curate(made.source, made.output).wall_s, "s"))
    first = curate(new_videos(tmp_path / "videos", 1, 6), made.output)
    report.add(Row(f"{CLIPS:,} clips: the first new video after that, wall", first.wall_s, "s"))


def test_a_run_with_nothing_new(made: Library, report: Report) -> None:
    idle = curate(made.source, made.output)
    assert "nothing to do" in idle.log, idle.log[-500:]
    report.add(Row(f"{CLIPS:,} clips: curate with nothing new, wall", idle.wall_s, "s", IDLE_S, detail=f"{idle}"))
    report.add(Row(f"{CLIPS:,} clips: memory of driver and JVM of that run", idle.peak_mb, "MB", MEMORY_MB))


@pytest.mark.parametrize("about", QUERIES)
def test_queries(about: str, made: Library, report: Report) -> None:
    first = next((made.output / "tables" / "clips").glob("part-00000-*-*.parquet"))
    clip_id = pq.read_table(first, columns=["clip_id"]).column("clip_id")[0].as_py()
    answer = reelmill("sql", "--output", str(made.output), QUERIES[about].format(clip_id=clip_id))
    assert len(str(answer.answer).splitlines()) > 1
    report.add(Row(f"{CLIPS:,} clips: reelmill sql, {about}, wall", answer.wall_s, "s", QUERY_S, detail=f"{answer}"))


def test_a_run_with_new_videos(made: Library, report: Report, tmp_path: Path) -> None:
    videos = new_videos(tmp_path / "videos", NUM_NEW, 6)
    curate(videos, tmp_path / "warm-up")
    small, large = curate(videos, tmp_path / "output"), curate(videos, made.output)
    what = f"{CLIPS:,} clips: curate {NUM_NEW} new videos, over the same into an empty output"
    detail = f"{large}; empty {small}"
    report.add(Row(f"{what}, CPU", large.cpu_s / small.cpu_s, "x", NEW, detail=detail))
    report.add(Row(f"{what}, wall", large.wall_s / small.wall_s, "x", NEW, detail=detail))


def test_a_changed_threshold(made: Library, report: Report) -> None:
    changed = reelmill("filter", "--output", str(made.output), settings=THRESHOLD)
    back = reelmill("filter", "--output", str(made.output))
    assert "nothing to do" not in changed.log + back.log
    what = f"{CLIPS:,} clips: filter by another threshold, wall"
    report.add(Row(what, changed.wall_s, "s", THRESHOLD_S, detail=f"{changed}"))


def test_the_library_is_small_enough_for_a_disk(made: Library, report: Report) -> None:
    num_bytes = sum(path.stat().st_size for path in (made.output / "tables").rglob("*") if path.is_file())
    report.add(Row(f"{CLIPS:,} clips: tables and their logs", num_bytes / 1e9, "GB"))
    shutil.rmtree(made.output / "media", ignore_errors=True)
