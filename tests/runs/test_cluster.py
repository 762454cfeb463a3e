"""Stages with GPUs on a local cluster with two fake GPUs: which tasks ran where, and how many at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster_probe

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return probed(folder)


def probed(folder: Path, *options: str) -> dict[str, Any]:
    """What a process of its own tells: the session that the other tests share is another one."""
    command = [sys.executable, "-m", "tests.support.cluster_probe", str(folder), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert run.returncode == 0, run.stderr[-3000:]
    report: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return report


def at_once(spans: list[tuple[float, float]]) -> int:
    """The most spans that hold at one time."""
    edges = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(accumulate(step for _, step in edges))


@pytest.mark.parametrize(("gpus", "expected"), [("0.25", 4), ("0.5", 2), ("1", 1)])
def test_as_many_tasks_share_a_gpu_as_the_stage_says(found: dict[str, Any], gpus: str, expected: int) -> None:
    tasks = found[gpus]["tasks"]
    assert len(tasks) == cluster_probe.NUM_TASKS
    shared = {
        gpu: at_once([(task["started"], task["ended"]) for task in tasks if task["gpu"] == gpu])
        for gpu in {task["gpu"] for task in tasks}
    }
    print(f"gpus = {gpus}: tasks at once on each GPU {shared}")
    assert shared == {"0": expected, "1": expected}


@pytest.mark.parametrize(("gpus", "slots"), [("0.25", 8), ("0.5", 4), ("1", 2)])
def test_there_are_no_more_models_than_slots_and_each_is_loaded_once(
    folder: Path, found: dict[str, Any], gpus: str, slots: int
) -> None:
    """Although the stages before left idle workers, and models on the same GPUs."""
    lines = [line.split() for line in (folder / f"{gpus}.log").read_text(encoding="utf-8").splitlines()]
    loads = Counter(pid for what, pid, _ in lines if what == "load")
    print(
        f"gpus = {gpus}: {loads.total()} models loaded by {len(loads)} workers for {16 + cluster_probe.NUM_TASKS} tasks"
    )
    assert set(loads.values()) == {1}
    assert len(loads) <= slots


def test_the_models_of_the_stage_before_go_before_new_ones_come(folder: Path, found: dict[str, Any]) -> None:
    events = []
    for share, gpus in ((4, "0.25"), (2, "0.5"), (1, "1")):
        for line in (folder / f"{gpus}.log").read_text(encoding="utf-8").splitlines():
            what, _, at = line.split()
            events.append((float(at), 1 / share if what == "load" else -1 / share))
    held = list(accumulate(part for _, part in sorted(events)))
    print(f"the GPUs' worth of models held at once: {max(held):g} of 2")
    assert max(held) <= 2


def test_the_reason_is_told(found: dict[str, Any]) -> None:
    assert found["0.5"]["why"] == "without dynamic allocation, a profile of tasks alone"


def test_decoding_and_inference_overlap(found: dict[str, Any]) -> None:
    """40 items a task, 0.1 s each to decode and 0.1 s each in the model: 4 s, which one after the other were 8 s."""
    longer = 40 * 0.1
    spent = max(task["ended"] - task["began"] for task in found["overlap"]["tasks"])
    print(f"decoding {longer:g} s, inference {longer:g} s, a task {spent:.2f} s")
    assert spent <= 1.15 * longer
