"""Recall, precision and cost of split's methods on reels with known cuts, dissolves and fades.

A transition is found if a method puts a scene border into it, or up to TOLERANCE frames beside it.
A border anywhere else, such as at a flash, is wrong. A fade may have two borders, one on each side
of the black, because the scene between them is too short for a clip. The shots are real
(tests/support/reels.py) and drawn by SEEDS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from tests.support import reels
from tests.support.reels import FPS, Kind, Transition
from tests.support.sandbox_probe import call_here
from udfs import split
from udfs.core.limits import Limits
from udfs.shots import content, transnet, transnet_frames
from udfs.video import container

TOLERANCE = 2  # frames
NUM_SHOTS, SEEDS, LEAST_FRAMES = 7, (1, 2), 80  # 12 transitions per line
LINES: dict[str, tuple[Kind, int, int]] = {  # kind, its frames, and the frames of a flash in each shot
    "cut": ("cut", 0, 0),
    "cut, flashes": ("cut", 0, 2),
    "dissolve 8": ("dissolve", 8, 0),
    "dissolve 24": ("dissolve", 24, 0),
    "fade 24": ("fade", 24, 0),
    "fade 48": ("fade", 48, 0),
}
# The least recall and precision of transnetv2, and the most CPU seconds over those of content;
# measured 1.00, 1.00, 33.
RECALL, PRECISION, TIMES_CONTENT = 0.9, 0.85, 80
DEFAULTS = split.Params()
Borders = list[float]  # frames; x.5 lies between two frames


@dataclass
class Score:
    """Counts of transitions and borders, and the cost of finding them."""

    transitions: int = 0
    num_found: int = 0
    borders: int = 0
    num_right: int = 0
    cpu_s: float = 0.0
    video_s: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def recall(self) -> float:
        return self.num_found / self.transitions

    @property
    def precision(self) -> float:
        return self.num_right / max(1, self.borders)


def transnetv2(path: Path, num_frames: int) -> Borders:
    """The borders between the scenes of TransNet V2."""
    model, pieces = network(), transnet_frames.pieces(str(path), Limits(), call_here)
    probabilities = np.concatenate([answer.probabilities for answer in model(list(transnet.windows(pieces)))])
    scenes = transnet.scene_frames(probabilities, DEFAULTS.transnetv2_threshold)
    return [(last + first) / 2 for (_, last), (first, _) in pairwise(scenes)]


def content_detector(path: Path, num_frames: int) -> Borders:
    """The borders before the first frame after each cut."""
    detector = content.adaptive_detector(DEFAULTS.adaptive_threshold, DEFAULTS.min_content_val, DEFAULTS.window_width)
    with container.open_video(str(path), Limits()) as video:
        return [at_s * FPS - 0.5 for at_s in content.cut_times(video, detector)[0]]


def fixed_stride(path: Path, num_frames: int) -> Borders:
    """The borders of fixed strides, which hit transitions by chance."""
    return [start_s * FPS - 0.5 for start_s, _ in split.fixed_stride_spans(num_frames / FPS, DEFAULTS)[1:]]


@lru_cache(maxsize=1)
def network() -> Callable[[list[transnet.Window]], list[transnet.Answer]]:
    """The model, loaded before anything is timed, on one core like a Spark task."""
    torch.set_num_threads(1)
    model = transnet.load("cpu")
    model([transnet.Window(np.zeros(50), np.zeros((100, 27, 48, 3), np.uint8))])
    return model


METHODS = {"transnetv2": transnetv2, "content": content_detector, "fixed_stride": fixed_stride}


def score_of(borders: Borders, truth: list[Transition]) -> Score:
    """The score of the borders of a method."""
    ends = [(t.first - 0.5 - TOLERANCE, t.after - 0.5 + TOLERANCE) for t in truth]
    num_found = sum(any(first <= border <= after for border in borders) for first, after in ends)
    num_right = sum(any(first <= border <= after for first, after in ends) for border in borders)
    return Score(len(truth), num_found, len(borders), num_right)


def measured_score(name: str, path: Path, num_frames: int, truth: list[Transition]) -> Score:
    """The score of a method on one reel, and its CPU seconds with decoding."""
    begin = time.process_time()
    borders = METHODS[name](path, num_frames)
    cpu_s = time.process_time() - begin
    return score_of(borders, truth) + Score(cpu_s=cpu_s, video_s=num_frames / FPS)


def test_transnetv2_finds_known_transitions_and_content_finds_cuts(tmp_path: Path) -> None:
    network()
    table = {(line, name): Score() for line in LINES for name in METHODS}
    for line, (kind, length, flash) in LINES.items():
        for seed in SEEDS:
            shots = [reels.with_flash(shot, flash) for shot in reels.random_shots(NUM_SHOTS, seed, LEAST_FRAMES)]
            pictures, truth = reels.join_shots(shots, kind, length)
            path = reels.write(tmp_path / f"{line}-{seed}.mp4", pictures)
            for name in METHODS:
                table[line, name] += measured_score(name, path, len(pictures), truth)
    whole = {name: sum((table[line, name] for line in LINES), Score()) for name in METHODS}
    cost = {name: 60 * score.cpu_s / score.video_s for name, score in whole.items()}
    ratio = cost["transnetv2"] / cost["content"]
    print(f"\n{'recall / precision':20}" + "".join(f"{name:>16}" for name in METHODS))
    for line in LINES:
        scores = [table[line, name] for name in METHODS]
        print(f"{line:20}" + "".join(f"{s.recall:9.2f} / {s.precision:.2f}" for s in scores))
    print(f"{'all':20}" + "".join(f"{s.recall:9.2f} / {s.precision:.2f}" for s in whole.values()))
    print(
        f"{table['cut', 'content'].transitions} transitions per line; "
        f"a border counts up to {TOLERANCE} frames beside one"
    )
    print(
        f"CPU seconds per minute of video: transnetv2 {cost['transnetv2']:.1f}, "
        f"content {cost['content']:.2f}: {ratio:.0f}x"
    )
    assert min(table[line, "transnetv2"].recall for line in LINES) >= RECALL
    assert min(table[line, "transnetv2"].precision for line in LINES if "flashes" not in line) >= PRECISION
    assert table["cut", "content"].recall >= RECALL
    assert ratio < TIMES_CONTENT
