"""Program of Reelmill's environment: what benchmarks ask of it, with Spark only where Spark is asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import cli
from jobs.spark.session import connect
from tests.bench import work
from tests.bench.serve import serve


def transcode(paths: list[str], clip_len_s: float, mode: str = "transcode", count: bool = False) -> list[int]:
    """Cut videos without Spark; the number of clips, or with `count` the frames of each clip."""
    chosen = work.settings(clip_len_s, mode, motion_only=True)
    with _folder() as output:
        rows = [row for path in paths for row in work.cut(path, output, chosen)]
        return [work.frames_of(row["uri"]) for row in rows] if count else [len(rows)]


def transcode_and_score(paths: list[str], clip_len_s: float, count: bool = False) -> list[int]:
    """Cut videos and score the motion of their clips without Spark; the answer of `transcode`."""
    chosen = work.settings(clip_len_s, motion_only=True)
    with _folder() as output:
        rows = [row for path in paths for row in work.cut_and_measure(path, output, chosen)]
        files = sorted(Path(output, "media", "clips").rglob("*.mp4")) if count else []
        return [work.frames_of(str(file)) for file in files] if count else [len(rows)]


def score(paths: list[str]) -> list[float]:
    """The scores of videos, by a function of a row as a stage has it."""
    return work.scores(connect({}, verbose=False), paths)


def score_by_pictures(paths: list[str]) -> list[float]:
    """The scores of videos, through stored rows of PNG frames."""
    with _folder() as folder:
        return work.scores_by_pictures(connect({}, verbose=False), paths, f"{folder}/frames")


def pool(folder: str, clip_len_s: float) -> int:
    """Cut and measure a folder of videos in a plain pool of processes; the number of clips."""
    paths = [str(path.resolve()) for path in sorted(Path(folder).iterdir())]
    with _folder() as output:
        return work.in_pool(paths, output, work.settings(clip_len_s, motion_only=False))


def stages(folder: str, clip_len_s: float) -> int:
    """Cut and measure a folder of videos by the jobs in Spark, with tables; the number of clips."""
    connect({}, verbose=False)
    with _folder() as output:
        common = ["--output", output, "--set", f"split.clip_len_s={clip_len_s}"]
        for command in (["ingest", "--manifest", folder], ["split"], ["clip"], ["analyze"]):
            if status := cli.main([*command, *common]):
                raise RuntimeError(f"{command}: status {status}")
        return len(list(Path(output, "media", "clips").rglob("*.mp4")))


@contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="bench-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    functions = (transcode, transcode_and_score, score, score_by_pictures, pool, stages)
    serve({function.__name__: function for function in functions})
