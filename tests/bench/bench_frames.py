"""A score of every frame's change, beside Daft, Ray Data, and rows of PNG frames in Spark.

All decode with PyAV and compute the score of tests/bench/luma.py. `warm` is a second call of a
process that is there; a whole run starts the process, and with it Ray's or Spark's own processes.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tests.bench import material, peers
from tests.support import spent
from tests.support.goals import Report, Row
from tests.support.spent import Program, Spent

ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
NUM_FRAMES = int(os.environ.get("REELMILL_BENCH_FRAMES", "30000"))  # at least 5,000, from where whole runs count
# Least CPU of the peer over ours.
WARM, WHOLE = 1.3, 1.0


def videos(minutes: list[Path]) -> tuple[list[str], int]:
    """Videos with at least NUM_FRAMES frames, and their number of frames."""
    per_round = sum(map(material.num_frames, minutes))
    times = -(-NUM_FRAMES // per_round)
    folder = material.folder_of(times * len(minutes), minutes)
    return [str(path.resolve()) for path in sorted(folder.iterdir())], times * per_round


@pytest.mark.parametrize("peer", ["daft", "ray"])
def test_scoring_frames_takes_less_than_a_peer_s(peer: str, report: Report, minutes: list[Path]) -> None:
    try:
        program = peers.program(peer)
    except peers.PeerMissing as e:
        pytest.skip(str(e))
    report.versions |= peers.versions(peer)
    paths, num_frames = videos(minutes)
    both = {peer: program, "ours": peers.ours()}
    starts = {name: partial(each.once, "score", paths=paths) for name, each in both.items()}
    whole = spent.compared(starts, ROUNDS, warm_up=False)
    report.add(_over_ours(f"{num_frames} frames, whole runs: CPU of {peer} over ours", peer, whole, WHOLE))
    report.add(_over_ours(f"{num_frames} frames, warm: CPU of {peer} over ours", peer, _warm(both, paths), WARM))


def test_scoring_frames_beside_rows_of_pictures(report: Report, minutes: list[Path]) -> None:
    paths, num_frames = videos(minutes)
    with peers.ours().warm() as ask:
        calls = {"pictures": partial(ask, "score_by_pictures", paths=paths), "ours": partial(ask, "score", paths=paths)}
        both = spent.compared(calls, ROUNDS)
    what = f"{num_frames} frames, warm: CPU of rows of PNG frames, stored between two steps of Spark, over ours"
    report.add(_over_ours(what, "pictures", both, None))


def _warm(programs: dict[str, Program], paths: list[str]) -> dict[str, Spent]:
    (first, one), (second, other) = programs.items()
    with one.warm() as ask_one, other.warm() as ask_other:
        calls = {first: partial(ask_one, "score", paths=paths), second: partial(ask_other, "score", paths=paths)}
        return spent.compared(calls, ROUNDS)


def _over_ours(what: str, peer: str, both: dict[str, Spent], goal: float | None) -> Row:
    ratio = both[peer].cpu_s / both["ours"].cpu_s
    return Row(what, ratio, "x", goal, "at least", f"{both[peer]}; ours {both['ours']}")
