"""A run of a hundred waves: memory, open files, commits and the time of a wave stay as they are."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from deltalake import DeltaTable

from tests.support import chaos, outputs
from tests.support.chaos import CHILD, JVM, WORKER, Run
from tests.support.footage import write_numbered
from tests.support.reaper import resident_mb

pytestmark = pytest.mark.soak
WAVES = int(os.environ.get("REELMILL_SOAK_WAVES", "100"))
PER_WAVE = int(os.environ.get("REELMILL_SOAK_VIDEOS", "20"))
SAMPLE_S = 2.0
LEAST_SAMPLES = 3  # of a quarter
LIVE_EVERY = 5  # samples, since each look at the live objects collects the garbage
# Where a collection leaves objects, and their classes; new objects come while it is asked.
USED = re.compile(r"(?:tenured generation +total \d+K,|Metaspace) +used (?P<kb>\d+)K")
# The most that each may grow by per wave in the second half of the run, and commits and files per table and wave.
DRIVER_MB, LIVE_MB, PROCESS_MB, PROCESSES, FILES = 0.3, 2.0, 1.0, 0.2, 0.5
COMMITS, DATA_FILES, SLOWER = 1.1, 2.2, 1.25


class Sample(NamedTuple):
    """What the processes of a run held at one moment."""

    at_s: float  # since the epoch
    driver_mb: float
    worker_mb: float  # the largest one
    child_mb: float  # the largest one
    processes: int
    open_files: int  # of driver and JVM
    live_mb: float | None  # objects and classes of the JVM; None where it was not asked


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(WAVES * PER_WAVE):
        write_numbered(folder / f"{i:04d}.mp4", 30, size=(160, 120), first=30 * i)
    return folder


def test_a_run_of_many_waves_holds_no_more_at_its_end(videos: Path, tmp_path: Path) -> None:
    options = ["--set", "split.clip_len_s=1", "--set", "split.min_clip_length_s=0.5"]
    waves = ["--set", f"curate.wave_videos={PER_WAVE}"]
    run = chaos.start([str(videos), *options, *waves, "--output", str(tmp_path / "output")], tmp_path / "log")
    samples = [*watched(run)]
    assert run.ended() == 0, run.told
    output = tmp_path / "output"
    assert len(outputs.table(output, "clips")) >= WAVES * PER_WAVE
    began = wave_starts(output)
    grown = {
        "driver, MB": (growth(samples, began, lambda s: s.driver_mb), DRIVER_MB),
        "live objects of the JVM, MB": (growth(samples, began, lambda s: s.live_mb), LIVE_MB),
        "largest worker, MB": (growth(samples, began, lambda s: s.worker_mb), PROCESS_MB),
        "largest decoding process, MB": (growth(samples, began, lambda s: s.child_mb), PROCESS_MB),
        "processes": (growth(samples, began, lambda s: s.processes), PROCESSES),
        "open files of driver and JVM": (growth(samples, began, lambda s: s.open_files), FILES),
    }
    print(f"\n{WAVES} waves of {PER_WAVE} videos; growth per wave in the second half of the run:")
    for name, (found, most) in grown.items():
        print(f"{name:32} {found:8.2f} (at most {most})")
    first, last = wave_seconds(began)
    print(f"{'seconds of the quickest wave':32} {first:8.2f} in the second quarter, {last:.2f} in the last one")
    sizes = {name: (table.version() + 1, len(table.file_uris())) for name, table in written(output)}
    for name, (commits, files) in sizes.items():
        print(f"{name:32} {commits:5} commits, {files} files")
    assert [name for name, (found, most) in grown.items() if found > most] == []
    assert last <= SLOWER * first
    assert [name for name, (commits, _) in sizes.items() if commits > COMMITS * WAVES + 10] == []
    assert [name for name, (_, files) in sizes.items() if files > DATA_FILES * WAVES + 10] == []


def watched(run: Run) -> Iterator[Sample]:
    """Samples of a run, until it ends."""
    number, jvm = 0, None
    while run.process.poll() is None:
        own = [*chaos.processes(run.process.pid)]
        if jvm not in dict(own):  # where the JVM starts a program, two processes have its command line for a moment
            jvm = next((pid for pid, command in own if JVM in command), None)
        if jvm is not None:
            live = live_mb(jvm) if number % LIVE_EVERY == 0 else None
            held = largest_mb(own, WORKER, jvm), largest_mb(own, CHILD, jvm)
            files = num_open(run.process.pid) + num_open(jvm)
            yield Sample(time.time(), resident_mb(run.process.pid), *held, len(own), files, live)
            number += 1
        time.sleep(SAMPLE_S)


def growth(samples: list[Sample], began: list[float], held: Callable[[Sample], float | None]) -> float:
    """By how much the least that was held grew per wave, from the third quarter of the waves to the last one.

    What a wave holds while it works comes and goes; what a run keeps is held at each moment.
    """
    at = [(float(np.interp(sample.at_s, began, range(len(began)))), held(sample)) for sample in samples]
    ends = np.linspace(len(began) / 2, len(began) - 1, 3)
    quarters = [
        [value for wave, value in at if first <= wave < last and value is not None] for first, last in pairwise(ends)
    ]
    assert min(map(len, quarters)) >= LEAST_SAMPLES
    return float((min(quarters[1]) - min(quarters[0])) / (ends[1] - ends[0]))


def largest_mb(processes: list[tuple[int, str]], program: str, jvm: int) -> float:
    """The resident memory of the largest process of a program; the JVM's command line names the programs, too."""
    return max((resident_mb(pid) for pid, command in processes if program in command and pid != jvm), default=0.0)


def num_open(pid: int) -> int:
    """How many files a process has open; 0 of one that ended."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def live_mb(jvm: int) -> float | None:
    """The objects and classes of a JVM, after its garbage was collected; None of one that does not answer."""
    for command in ("GC.run", "GC.heap_info"):
        told = subprocess.run(["jcmd", str(jvm), command], capture_output=True, text=True, check=False).stdout
    used = [int(found["kb"]) / 1024 for found in USED.finditer(told)]
    return sum(used) if len(used) == 2 else None


def wave_starts(output: Path) -> list[float]:
    """When each wave began to cut clips, in seconds since the epoch."""
    return sorted(row["started_at"].timestamp() for row in outputs.table(output, "runs") if row["stage"] == "clip")


def wave_seconds(began: list[float]) -> tuple[float, float]:
    """The seconds of the quickest wave in the second and in the last quarter of a run: of one that got few videos."""
    took = np.diff(began)
    quarter = len(took) // 4
    return float(min(took[quarter : 2 * quarter])), float(min(took[-quarter:]))


def written(output: Path) -> Iterator[tuple[str, DeltaTable]]:
    """The tables of an output by name."""
    for log in sorted((output / "tables").glob("*/_delta_log")):
        yield log.parent.name, DeltaTable(log.parent)
