"""A run of a hundred waves: memory, open files, commits and the time of a wave stay as they are."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
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
PER_WAVE = 20  # videos
SAMPLE_S = 2.0
HEAP_EVERY = 10  # samples, since each look at the live heap collects the garbage
USED = re.compile(r"total \d+K, used (?P<kb>\d+)K")
# The most that each may grow by per wave in the second half of the run, and commits and files per table and wave.
DRIVER_MB, HEAP_MB, WORKERS_MB, FILES = 0.3, 2.0, 3.0, 0.5
COMMITS, DATA_FILES, SLOWER = 1.1, 2.2, 1.25


class Sample(NamedTuple):
    """What the processes of a run held at one moment."""

    driver_mb: float
    workers_mb: float
    children_mb: float
    open_files: int  # of driver and JVM
    heap_mb: float | None  # live objects of the JVM; None where it was not asked


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
    slopes = {
        "driver, MB": (slope([sample.driver_mb for sample in samples]), DRIVER_MB),
        "live heap of the JVM, MB": (slope([s.heap_mb for s in samples if s.heap_mb is not None]), HEAP_MB),
        "workers, MB": (slope([sample.workers_mb for sample in samples]), WORKERS_MB),
        "decoding processes, MB": (slope([sample.children_mb for sample in samples]), WORKERS_MB),
        "open files of driver and JVM": (slope([float(sample.open_files) for sample in samples]), FILES),
    }
    print(f"\n{WAVES} waves of {PER_WAVE} videos; growth per wave in the second half of the run:")
    for name, (found, most) in slopes.items():
        print(f"{name:32} {found:8.2f} (at most {most})")
    first, last = wave_seconds(output)
    print(f"{'seconds of a wave':32} {first:8.2f} in the second quarter, {last:.2f} in the last one")
    sizes = {name: (table.version() + 1, len(table.file_uris())) for name, table in written(output)}
    for name, (commits, files) in sizes.items():
        print(f"{name:32} {commits:5} commits, {files} files")
    assert [name for name, (found, most) in slopes.items() if found > most] == []
    assert last <= SLOWER * first
    assert [name for name, (commits, _) in sizes.items() if commits > COMMITS * WAVES + 10] == []
    assert [name for name, (_, files) in sizes.items() if files > DATA_FILES * WAVES + 10] == []


def watched(run: Run) -> Iterator[Sample]:
    """Samples of a run, until it ends."""
    number = 0
    while run.process.poll() is None:
        own = [*chaos.processes(run.process.pid)]
        jvm = next((pid for pid, command in own if JVM in command), None)
        if jvm is not None:
            heap = live_heap_mb(jvm) if number % HEAP_EVERY == 0 else None
            held = [sum(resident_mb(pid) for pid, command in own if name in command) for name in (WORKER, CHILD)]
            files = num_open(run.process.pid) + num_open(jvm)
            yield Sample(resident_mb(run.process.pid), held[0], held[1], files, heap)
            number += 1
        time.sleep(SAMPLE_S)


def slope(values: list[float]) -> float:
    """The growth per wave of values over the second half of a run, by a line through them."""
    half = np.array(values[len(values) // 2 :])
    if len(half) < 3:
        return 0.0
    return float(np.polyfit(np.linspace(0, WAVES / 2, len(half)), half, 1)[0])


def num_open(pid: int) -> int:
    """How many files a process has open; 0 of one that ended."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def live_heap_mb(jvm: int) -> float | None:
    """The live objects of a JVM, after its garbage was collected; None of one that ended."""
    for command in ("GC.run", "GC.heap_info"):
        told = subprocess.run(["jcmd", str(jvm), command], capture_output=True, text=True, check=False).stdout
    found = USED.search(told)
    return int(found["kb"]) / 1024 if found else None


def wave_seconds(output: Path) -> tuple[float, float]:
    """The median seconds of a wave in the second and in the last quarter of a run: from one `clip` to the next."""
    began = sorted(row["started_at"] for row in outputs.table(output, "runs") if row["stage"] == "clip")
    took = np.diff([moment.timestamp() for moment in began])
    quarter = len(took) // 4
    return float(np.median(took[quarter : 2 * quarter])), float(np.median(took[-quarter:]))


def written(output: Path) -> Iterator[tuple[str, DeltaTable]]:
    """The tables of an output by name."""
    for log in sorted((output / "tables").glob("*/_delta_log")):
        yield log.parent.name, DeltaTable(log.parent)
