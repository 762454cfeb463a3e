"""Faults of machines at seeded moments: the same command ends with the tables and media of a run that met none."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import chaos, outputs
from tests.support.chaos import Run
from tests.support.footage import write_four_and_a_broken_one

pytestmark = pytest.mark.chaos
SEEDS = int(os.environ.get("REELMILL_CHAOS_SEEDS", "20"))
FAULTS_PER_SEED = 2
# A disk of a test's own takes root.
KINDS = ("machine", "driver", "jvm", "worker", "child", "commit", "second", *(["disk"] if os.geteuid() == 0 else []))
ENDING = {"machine", "driver", "jvm", "commit"}  # a run goes on after the others, or says why not
NUM_COMMITS = 16  # of a run of these videos, at least
ROOM = 1 << 30  # bytes of a disk that is not full
SPECULATION = """[spark]
"spark.speculation" = "true"
"spark.speculation.quantile" = "0.5"
"spark.speculation.multiplier" = "1.2"
"""


class Alone(NamedTuple):
    """A run that met no fault: its arguments, what it made, and how long it took."""

    arguments: list[str]
    tables: dict[str, list[str]]
    files: dict[str, str]
    took_s: float
    num_bytes: int


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "videos").mkdir()
    write_four_and_a_broken_one(folder / "videos")
    options = ["--set", "split.clip_len_s=2", "--set", "curate.wave_videos=2"]
    arguments = [str(folder / "videos"), *options]
    begun = time.monotonic()
    run = chaos.start([*arguments, "--output", str(folder / "output")], folder / "log")
    assert run.ended() == 0, run.told
    num_bytes = sum(path.stat().st_size for path in (folder / "output").rglob("*") if path.is_file())
    took_s = time.monotonic() - begun
    return Alone(arguments, outputs.tables(folder / "output"), outputs.files(folder / "output"), took_s, num_bytes)


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_after_faults_the_same_command_ends_as_if_there_had_been_none(seed: int, alone: Alone, tmp_path: Path) -> None:
    chance = random.Random(seed)
    kinds = chance.choices(KINDS, k=FAULTS_PER_SEED)
    with disk(tmp_path / "output") if "disk" in kinds else nullcontext():
        _meet(kinds, seed, chance, alone, tmp_path)


def _meet(kinds: list[str], seed: int, chance: random.Random, alone: Alone, tmp_path: Path) -> None:
    arguments = [*alone.arguments, "--output", str(tmp_path / "output")]
    if chance.random() < 0.5:
        (tmp_path / "speculation.toml").write_text(SPECULATION, encoding="utf-8")
        arguments += ["--conf", str(tmp_path / "speculation.toml")]
    for kind in kinds:
        print(f"seed {seed}: {befall(kind, chance, alone, arguments, tmp_path)}", flush=True)
    last = chaos.start([*arguments, "--retry-failed"], tmp_path / "log")
    assert last.ended() == 0, last.told
    found, files = outputs.tables(tmp_path / "output"), outputs.files(tmp_path / "output")
    assert files == alone.files
    assert {name: rows for name, rows in found.items() if name != "failures"} == {
        name: rows for name, rows in alone.tables.items() if name != "failures"
    }
    # A decoding process that was killed is a failure of its time.
    assert {*alone.tables["failures"]} <= {*found["failures"]}
    assert not [*(tmp_path / "output" / "tables" / ".landing").glob("*")]
    if seed % 5 == 0:
        proof = chaos.start([*arguments, "--check"], tmp_path / "log")
        assert proof.ended() == 0, proof.told


def befall(kind: str, chance: random.Random, alone: Alone, arguments: list[str], folder: Path) -> str:
    """Run the command with a fault, until it ends; what happened."""
    if kind == "disk":
        return filled(chance, alone, arguments, folder)
    commits = chance.randint(1, NUM_COMMITS) if kind == "commit" else None
    run = chaos.start(arguments, folder / f"log-{kind}", commits)
    moment_s = chance.uniform(0.15, 0.9) * alone.took_s
    if commits is None:
        time.sleep(moment_s)
    if kind == "second":
        other = chaos.start(arguments, folder / "log-other")
        status = other.ended()
        assert run.process.poll() is not None or status == 1, other.told
        assert "is in use by another run" in other.told or run.process.poll() is not None
    elif commits is None:
        chaos.kill(run, kind)
    status = run.ended()
    if kind not in ENDING:
        assert status == 0, run.told
    elif kind == "jvm" and status != 0:
        assert_one_line(run)
    return f"{kind} after {commits or round(moment_s, 1)}: status {status}"


def filled(chance: random.Random, alone: Alone, arguments: list[str], folder: Path) -> str:
    """Run the command on a disk that is too small, then give it room."""
    share = chance.uniform(0.2, 0.9)
    used = shutil.disk_usage(folder / "output").used  # in whole pages, which small files fill in part
    _resize(folder / "output", used + int(share * alone.num_bytes))
    run = chaos.start(arguments, folder / "log-disk")
    status = run.ended()
    _resize(folder / "output", ROOM)
    if status:
        assert_one_line(run)
        assert "space" in run.told, run.told
    return f"disk with room for {share:.2f} of the output: status {status}"


def assert_one_line(run: Run) -> None:
    """The run said in one line why it ended."""
    assert "Traceback" not in run.told, run.told
    assert "\tat " not in run.told, run.told
    assert run.told.splitlines()[-1].startswith("reelmill: "), run.told


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A disk in a folder's place, whose size can be changed."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _resize(folder: Path, num_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={num_bytes}", folder], check=True)
