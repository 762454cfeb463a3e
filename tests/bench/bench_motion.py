"""Motion scores with parity = true equal those of nemo-curator to 1 %; CPU cost of both.

NeMo Curator runs in an environment of its own, see peers.py.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.bench import peers
from tests.support import clips
from tests.support.footage import write_numbered
from tests.support.reels import real_clip
from udfs import analyze
from udfs.core.limits import Limits
from udfs.signals import motion
from udfs.video import container, decode

SCRIPT = Path(__file__).with_name("nemo_motion.py")
TOLERANCE = 0.01
MOTION = analyze.Params(quality=False, phash=False, proxy=False, preview=False)


@pytest.fixture(scope="module")
def nemo_python() -> Path:
    """The interpreter that can run NeMo Curator's motion module."""
    try:
        return peers.python("nemo")
    except peers.PeerMissing as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real and generated clips: B-frames, 1080 lines, and a long one for parity's limit."""
    folder = tmp_path_factory.mktemp("footage")
    generated = [
        write_upscaled(real_clip("carphone_pristine"), folder / "carphone_704x576.mp4", (704, 576)),
        write_numbered(folder / "numbered_1280x720.mp4", 90, size=(1280, 720)),
        clips.write(folder / "pan_1920x1080.mp4", clips.panned((1920, 1080), 60, 6)),
        clips.write(folder / "pan_650x390_no_b.mp4", clips.panned((650, 390), 90, 3), options={"bf": "0"}),
        clips.write(folder / "long_pan_320x264.mp4", clips.panned((320, 264), 300, 2), fps=10, options={"g": "30"}),
    ]
    return [real_clip("bikes"), real_clip("bigbuckbunny"), *generated]


def write_upscaled(path: Path, target: Path, size: tuple[int, int]) -> Path:
    """Write a larger version of a clip that is too small for NeMo Curator."""
    with container.open_video(str(path), Limits()) as video:
        pictures = [
            frame.to_ndarray(format="rgb24", width=size[0], height=size[1]) for _, frame in decode.frames(video)
        ]
        return clips.write(target, [np.asarray(picture, np.uint8) for picture in pictures])


def reelmill_scores(path: Path, parity: bool) -> tuple[dict[str, float], float]:
    """Reelmill's scores of a clip, and the CPU seconds of decoding and scoring it."""
    settings = analyze.Settings(analyze=MOTION, motion=motion.Params(parity=parity))
    row, env = clips.row(path), clips.env(path.parent)
    begin = time.process_time()
    (signals,) = analyze.measure_clip(row, settings, env)
    return signals, time.process_time() - begin


def test_parity_scores_equal_nemo_curator_s(nemo_python: Path, footage: list[Path]) -> None:
    run = subprocess.run(
        [str(nemo_python), str(SCRIPT), *map(str, footage)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    theirs = [json.loads(line) for line in run.stdout.splitlines()]
    print(f"\n{'clip':26}{'score':20}{'NeMo Curator':>14}{'parity':>14}{'off by':>9}{'default':>14}")
    mismatches = []
    for path, their in zip(footage, theirs, strict=True):
        (parity, parity_s), (default, default_s) = (
            reelmill_scores(path, parity=True),
            reelmill_scores(path, parity=False),
        )
        for name in ("global_mean", "per_patch_min_256"):
            a, b = their[name], parity[f"motion_score_{name}"]
            off = abs(a - b) / max(abs(a), 1e-12)
            mismatches += [f"{path.name} {name}: {a} and {b}"] * (off > TOLERANCE)
            print(f"{path.stem:26}{name:20}{a:14.7f}{b:14.7f}{off:9.4%}{default[f'motion_score_{name}']:14.7f}")
        lost = 1 - their["vectors_of_four_threads"] / their["vectors"]
        print(f"{'':26}with its own four decoding threads {lost:.2%} of the vectors are missing")
        spent = their["decode_s"] + their["score_s"]
        parts = f"({their['decode_s']:.2f} decoding its first half, {their['score_s']:.2f} scoring)"
        print(
            f"{'':26}CPU s {spent:.2f} {parts}; ours, whole clip {default_s:.2f}, "
            f"parity {parity_s:.2f}: {spent / default_s:.1f}x"
        )
    assert mismatches == []
