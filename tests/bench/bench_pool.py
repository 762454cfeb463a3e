"""What Spark and the tables cost: the jobs in a warm session, beside the same functions in a pool of processes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from tests.bench import material, peers
from tests.support import spent
from tests.support.goals import Report, Row

CLIP_S = 10.0
ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
NUM_VIDEOS = int(os.environ.get("REELMILL_BENCH_VIDEOS", "40"))  # of a minute
MOST = 1.10


def test_spark_and_tables_take_little_beside_the_work(report: Report, minutes: list[Path]) -> None:
    folder = str(material.folder_of(NUM_VIDEOS, minutes).resolve())
    with peers.ours().warm() as in_spark, peers.ours().warm() as in_pool:
        calls = {
            name: partial(ask, name, folder=folder, clip_len_s=CLIP_S)
            for name, ask in {"stages": in_spark, "pool": in_pool}.items()
        }
        both = spent.compared(calls, ROUNDS)
    what = f"{NUM_VIDEOS} minutes, ingest to analyze: CPU of the jobs in Spark over that of a pool of processes"
    ratio = both["stages"].cpu_s / both["pool"].cpu_s
    detail = f"{both['stages']}; pool {both['pool']}"
    report.add(Row(what, ratio, "x", MOST, "at most", detail))
