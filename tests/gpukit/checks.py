"""The checks of a GPU kit: a table of what was measured beside its goals, in less than nine minutes.

Usage: python -m tests.gpukit.checks --clips FOLDER [--dry]. The exit status is 0 if every goal was met, 1 if one
was missed or a check failed, and 2 without a GPU. `--dry` does a little of everything on the CPU, up to the first
CUDA call, and has no goals but those of equal answers.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tests.gpukit import decoding, rates, run
from tests.gpukit.sizes import DRY, FULL, Size
from tests.support import goals
from tests.support.goals import Row

LIMIT_S = 480  # no check begins later
TESTS_S = 120


def gpu_tests(_: Path, work: Path, size: Size) -> Iterator[Row]:
    """Run the tests that need a GPU and no Spark."""
    chosen = [] if size.on_gpu else ["--collect-only"]
    options = ["-q", "-p", "no:cacheprovider", "-m", "gpu", "--basetemp", str(work / "tests"), *chosen]
    command = [sys.executable, "-m", "pytest", *options, *run.TESTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TESTS_S)
    last = ([line for line in done.stdout.splitlines() if re.search(r" in [\d.]+s", line)] or ["no summary"])[-1]
    failed = sum(int(number) for number in re.findall(r"(\d+) (?:failed|error)", last))
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:])
    yield Row("pytest -m gpu: failed", max(failed, int(done.returncode != 0)), "tests", 0, detail=last)


CHECKS: tuple[Callable[[Path, Path, Size], Iterator[Row]], ...] = (
    decoding.frames,
    decoding.stages,
    decoding.reads,
    rates.cosines,
    rates.embeddings,
    rates.captions,
    gpu_tests,
)


def main(arguments: list[str]) -> int:
    """Run the checks, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(prog="run.py", description="check Reelmill on a GPU")
    parser.add_argument("--clips", type=Path, required=True, help="folder of the kit's clips")
    parser.add_argument("--dry", action="store_true", help="go up to the first CUDA call, on the CPU")
    chosen = parser.parse_args(arguments)
    if not (chosen.dry or torch.cuda.is_available()):
        print(f"torch {torch.__version__} sees no GPU: run.py --dry goes up to the first CUDA call")
        return 2
    rows = list(measured(chosen.clips, DRY if chosen.dry else FULL))
    print(f"\n{goals.text(rows)}\n")
    missed = [row.what for row in rows if row.met is False]
    print(f"missed: {'; '.join(missed)}" if missed else "no goal was missed")
    if chosen.dry:
        print("dry run: nothing was asked of a GPU, and this is where the first CUDA call would come")
    return int(bool(missed))


def measured(clips: Path, size: Size) -> Iterator[Row]:
    """The rows of all checks; one that fails or comes too late is a row, too."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            if time.monotonic() - started > LIMIT_S:
                yield Row(f"{name}: not run, {LIMIT_S} s are over", 1, "checks", 0)
                continue
            try:
                for row in check(clips, Path(work), size):
                    print(" | ".join(row.cells()), flush=True)
                    yield row
            except Exception:  # noqa: BLE001 - a check that fails must not hide the others
                traceback.print_exc()
                yield Row(f"{name}: failed", 1, "checks", 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
