"""Seconds of small whole runs: four small videos, the same again with nothing new, and a query."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from deltalake import DeltaTable

from tests.bench import material
from tests.support import spent
from tests.support.goals import Report, Row
from tests.support.spent import Spent

ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
FIRST_CPU_S, FIRST_WALL_S, AGAIN_CPU_S, QUERY_S = 45.0, 30.0, 15.0, 1.5
QUERY = "SELECT reasons, count(*) FROM verdicts GROUP BY 1"


def test_small_runs_start_and_end_soon(report: Report, tmp_path: Path) -> None:
    reels, output = str(material.four_videos().resolve()), tmp_path / "output"
    split = ("--set", "split.method=content", "--set", "split.min_length_s=1")

    def curate() -> Spent:
        return reelmill("curate", "--manifest", reels, "--output", str(output), *split)

    def first() -> Spent:
        shutil.rmtree(output, ignore_errors=True)
        return curate()

    first()  # so that files are in memory
    rounds = spent.interleaved(
        {"first": first, "again": curate, "query": lambda: reelmill("sql", "--output", str(output), QUERY)}, ROUNDS
    )
    begin, again, query = (spent.median(rounds[name]) for name in ("first", "again", "query"))
    work_s = sum(row["cpu_s"] or 0.0 for row in DeltaTable(output / "tables" / "runs").to_pyarrow_table().to_pylist())
    detail = f"{work_s:.1f} CPU s of it work"
    report.add(Row("curate four small videos", begin.cpu_s, "CPU s", FIRST_CPU_S, detail=detail))
    report.add(Row("curate four small videos, wall", begin.wall_s, "s", FIRST_WALL_S))
    report.add(Row("curate the same again, nothing new", again.cpu_s, "CPU s", AGAIN_CPU_S, detail=f"{again}"))
    report.add(Row("reelmill sql on that output, wall", query.wall_s, "s", QUERY_S, detail=f"{query}"))


def reelmill(*arguments: str) -> Spent:
    """Run the command line in a process of its own."""
    return spent.run([sys.executable, "-m", "jobs", *arguments])
