"""Throughput of good files among which 5 % are bad, beside a run of the same good files alone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

from tests.support import broken_files, outputs, spent
from tests.support.footage import write_numbered
from tests.support.goals import Report, Row
from tests.support.spent import Spent

ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
NUM_GOOD, SHARE = int(os.environ.get("REELMILL_BENCH_VIDEOS", "57")), 0.05  # of all files
FRAMES, SIZE = 240, (640, 360)
LEAST_RATIO = 0.9
# What a crawler leaves, each in its turn. A file that hangs its decoder costs one core `limits.timeout_s` besides.
POISON: dict[str, Callable[[Path, Path], object]] = {
    "cut": lambda good, path: broken_files.cut_to(good, path, -good.stat().st_size // 3),
    "flipped": lambda good, path: broken_files.flip_bits(good, path, (5_000, good.stat().st_size), 300, seed=5),
    "text": lambda good, path: path.write_bytes(b"<html>not found</html>" * 100),
}


def test_bad_files_do_not_slow_good_ones(report: Report, tmp_path: Path) -> None:
    clean, mixed = tmp_path / "clean", tmp_path / "mixed"
    clean.mkdir()
    good = write_numbered(tmp_path / "good.mp4", FRAMES, size=SIZE)
    for number in range(NUM_GOOD):
        shutil.copyfile(good, clean / f"{number:02}.mp4")
    shutil.copytree(clean, mixed)
    num_bad = round(NUM_GOOD * SHARE / (1 - SHARE))
    for number, make in zip(range(num_bad), cycle(POISON.values()), strict=False):
        make(good, mixed / f"{20 * number + 10}-bad.mp4")

    def curate(videos: Path) -> Spent:
        output = tmp_path / f"output-of-{videos.name}"
        shutil.rmtree(output, ignore_errors=True)
        return spent.run([sys.executable, "-m", "jobs", "curate", str(videos), "-o", str(output)])

    rounds = spent.interleaved({each.name: partial(curate, each) for each in (clean, mixed)}, ROUNDS)
    failed = num_rows(tmp_path, "failures")["mixed"]  # a file whose pictures are damaged may still give clips
    assert num_rows(tmp_path, "clips") == {"clean": NUM_GOOD, "mixed": NUM_GOOD + num_bad - failed}
    alone, beside = spent.median(rounds["clean"]), spent.median(rounds["mixed"])
    detail = f"{NUM_GOOD} files alone {alone}; with {num_bad} bad ones {beside}"
    ratio = alone.wall_s / beside.wall_s
    report.add(Row("good files per second, 5 % bad over none", ratio, "x", LEAST_RATIO, "at least", detail))


def num_rows(folder: Path, table: str) -> dict[str, int]:
    """How many rows a table of each output has."""
    return {kind: len(outputs.table(folder / f"output-of-{kind}", table)) for kind in ("clean", "mixed")}
