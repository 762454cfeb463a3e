"""CPU seconds of cutting clips and scoring motion, beside NeMo Curator's own stages with the same encoder settings.

Both encode with libx264, preset veryfast, crf 20, one thread: NeMo Curator by the machine's ffmpeg,
as its stage does; Reelmill by PyAV, with the options that make x264 give equal bytes in every run,
which cost 10 % where the processor has AVX-512.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.bench import material, peers, work
from tests.support import spent
from tests.support.goals import Report, Row
from tests.support.spent import Program, Spent

CLIP_S = 10.0
ROUNDS = int(os.environ.get("REELMILL_BENCH_ROUNDS", "3"))
NUM_VIDEOS = int(os.environ.get("REELMILL_BENCH_VIDEOS", "20"))  # of a minute: 120 clips
FASTER, COPY_FASTER = 1.3, 8.0
MOTION_ONLY = [f"analyze.{signal}=false" for signal in ("quality", "phash", "proxy", "preview")]

Ask = Callable[..., Spent]


@pytest.fixture(scope="module")
def nemo(report: Report) -> Program:
    """NeMo Curator's program; skips where its environment or ffmpeg is missing."""
    if not shutil.which("ffmpeg"):
        pytest.skip("NeMo Curator's stages need an ffmpeg program")
    try:
        program = peers.program("nemo")
    except peers.PeerMissing as e:
        pytest.skip(str(e))
    report.versions |= peers.versions("nemo")
    return program


def requests(paths: list[str]) -> dict[str, Any]:
    """The videos with the spans that Reelmill cuts, for NeMo Curator's stages."""
    chosen = work.settings(CLIP_S, motion_only=True)
    return {"paths": paths, "spans": [work.spans(path, chosen) for path in paths]}


def test_stages_take_less_than_nemo_curator_s(nemo: Program, report: Report, minutes: list[Path]) -> None:
    paths = [str(path.resolve()) for path in minutes]
    theirs = requests(paths)
    with nemo.warm() as ask_nemo, peers.ours().warm() as ask_ours:
        frames = ask_nemo("transcode", **theirs, count=True).answer
        own = ask_ours("transcode", paths=paths, clip_len_s=CLIP_S, count=True).answer
        # Its clips begin at times that are rounded to a frame.
        assert [abs(a - b) <= 1 for a, b in zip(frames, own, strict=True)] == [True] * len(own)
        for name in ("transcode", "transcode_and_score"):
            both = spent.compared(
                {
                    "nemo": partial(ask_nemo, name, **theirs),
                    "ours": partial(ask_ours, name, paths=paths, clip_len_s=CLIP_S),
                },
                ROUNDS,
            )
            what = name.replace("_and_", " + ").replace("score", "motion")
            report.add(_faster(f"{what}, stages by themselves: CPU of NeMo Curator over ours", both, FASTER))
        copies = spent.compared(
            {
                "nemo": lambda: ask_nemo("transcode", **theirs),
                "ours": lambda: ask_ours("transcode", paths=paths, clip_len_s=CLIP_S, mode="copy"),
            },
            ROUNDS,
        )
        report.add(_faster("our copy mode beside NeMo Curator's transcode: its CPU over ours", copies, COPY_FASTER))


def test_whole_runs_take_less_than_nemo_curator_s(
    nemo: Program, report: Report, minutes: list[Path], tmp_path: Path
) -> None:
    folder = material.folder_of(NUM_VIDEOS, minutes).resolve()
    output = tmp_path / "output"

    def curate() -> Spent:
        shutil.rmtree(output, ignore_errors=True)
        options = [f"split.clip_len_s={CLIP_S}", *MOTION_ONLY, "filter.duplicates=false"]
        command = ["-m", "jobs", "curate", "--manifest", str(folder), "--output", str(output)]
        result = spent.run([sys.executable, *command, *(f"--set={option}" for option in options)])
        made = len(list((output / "media" / "clips").rglob("*.mp4")))
        return Spent(result.cpu_s, result.wall_s, result.peak_mb, made)

    runs = {"nemo": lambda: nemo.once("pipeline", folder=str(folder), clip_len_s=CLIP_S), "ours": curate}
    both = spent.compared(runs, ROUNDS, warm_up=False)
    made = both["ours"].answer
    what = f"{made} clips, whole runs, transcode + motion (ours also embeds): CPU of NeMo Curator over ours"
    report.add(_faster(what, both, FASTER))


def _faster(what: str, both: dict[str, Spent], goal: float) -> Row:
    ratio = both["nemo"].cpu_s / both["ours"].cpu_s
    return Row(what, ratio, "x", goal, "at least", f"{both['nemo']}; ours {both['ours']}")
