"""Whole runs on one core and on two, in many waves and few, of a film and of its minutes, and with nothing new."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.bench import material, scale
from tests.support import spent
from tests.support.goals import Report, Row
from tests.support.spent import Spent

FILM_MIN = int(os.environ.get("REELMILL_BENCH_MINUTES", "120"))  # of the film, and how many videos of a minute
CORES_MIN = int(os.environ.get("REELMILL_BENCH_CORES_MINUTES", "24"))  # videos of a minute
NUM_WAVES = int(os.environ.get("REELMILL_BENCH_WAVES", "40"))  # of a minute each, beside a tenth as many waves
AGAIN_CPU_S = 2500.0  # of the first run whose share the second one is
TWO_CORES, FILM, AGAIN, WAVES = 1.8, 1.25, 0.02, 1.15


def curate(folder: Path, output: Path, *settings: str) -> Spent:
    """Curate a folder in a process of its own, into a new output or on."""
    options = [f"--set={setting}" for setting in settings]
    command = ["curate", "--manifest", str(folder.resolve()), "--output", str(output), *options]
    return spent.run([sys.executable, "-m", "jobs", *command])


def test_two_cores_take_little_over_half_the_time_of_one(report: Report, minutes: list[Path], tmp_path: Path) -> None:
    folder = material.folder_of(CORES_MIN, minutes)
    results = dict[int, Spent]()
    for cores in (1, 2):
        results[cores] = curate(folder, tmp_path / "output", f"spark.spark.master=local[{cores}]")
        shutil.rmtree(tmp_path / "output")
    ratio = results[1].wall_s / results[2].wall_s
    what = f"curate {CORES_MIN} videos of a minute: time on one core over that on two"
    report.add(Row(what, ratio, "x", TWO_CORES, "at least", f"local[1] {results[1]}; local[2] {results[2]}"))


def test_many_waves_take_little_more_than_a_few(report: Report, minutes: list[Path], tmp_path: Path) -> None:
    folder = material.folder_of(NUM_WAVES, minutes)
    few, many = (curate(folder, tmp_path / f"{size}", f"curate.wave_videos={size}") for size in (10, 1))
    what = f"curate {NUM_WAVES} videos of a minute in as many waves: CPU over that in {NUM_WAVES // 10}"
    report.add(Row(what, many.cpu_s / few.cpu_s, "x", WAVES, "at most", f"{many}; few {few}"))


def test_a_film_takes_as_long_as_its_minutes_and_nothing_new_takes_little(
    report: Report, minutes: list[Path], tmp_path: Path
) -> None:
    film, short = material.film(FILM_MIN, minutes[0]), material.folder_of(FILM_MIN, minutes[:1])
    one = curate(film, tmp_path / "film")
    many = curate(short, tmp_path / "minutes")
    what = f"curate a film of {FILM_MIN} min: time over that of as many videos of a minute"
    report.add(Row(what, one.wall_s / many.wall_s, "x", FILM, "at most", f"film {one}; minutes {many}"))
    if "REELMILL_FOOTAGE" not in os.environ:  # which has pictures of another size
        for stage, rate in scale.cpu_of_runs(tmp_path / "minutes").items():
            report.add(Row(scale.rate_name(stage), rate, "CPU s"))
    again = curate(short, tmp_path / "minutes")
    share = again.cpu_s / max(many.cpu_s, AGAIN_CPU_S)
    what = f"curate the videos of a minute again, nothing new: share of the CPU of a first run of {AGAIN_CPU_S:,.0f} s"
    report.add(Row(what, 100 * share, "%", 100 * AGAIN, "at most", f"{again}; the first run {many}"))
