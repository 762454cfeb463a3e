"""split: videos -> spans"""

from __future__ import annotations

import argparse

from jobs import cli
from jobs.history import Counts
from jobs.run import Run
from jobs.stage import Stage, run_alone
from udfs import split

STAGE = Stage(
    "split",
    table="spans",
    key="video_id",
    source=lambda run: run.current("videos").drop("attributes", "fingerprint", "run_id"),
    rows=split.rows,
    params=lambda settings: settings.split,
)


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Find the spans of every video that has none by these settings."""
    return run_alone(run, STAGE)


if __name__ == "__main__":
    cli.script("split")
