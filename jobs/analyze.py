"""analyze: clips -> signals"""

from __future__ import annotations

import argparse

from jobs import cli
from jobs.history import Counts
from jobs.run import Run
from jobs.stage import Stage, run_alone
from udfs import analyze

STAGE = Stage(
    "analyze",
    table="signals",
    key="clip_id",
    source=lambda run: run.current("clips").drop("fingerprint", "run_id", "sha256"),
    rows=analyze.rows,
    params=lambda s: analyze.Settings(s.analyze, s.motion, s.quality, s.phash, s.proxy, s.preview, s.windows),
)


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Measure every clip that has no signals by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("analyze")
