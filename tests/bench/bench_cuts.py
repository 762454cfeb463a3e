"""split's methods on reels whose cuts, dissolves and fades are known: what they find, what they invent, and what it costs.

A transition counts as found if a method puts a border of scenes into it, or up to TOLERANCE frames beside it; a border anywhere
else, such as at a flash, is invented. A fade may have two, one on each side of the black: what lies between is too short for a
clip. The shots are real (tests/support/reels.py), drawn by SEEDS.
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
from udfs import split
from udfs.core.limits import Limits
from udfs.shots import content, transnet, transnet_frames
from udfs.video import container

TOLERANCE = 2  # frames
NUM_SHOTS, SEEDS, LEAST_FRAMES = 7, (1, 2), 80  # 12 transitions a line
LINES: dict[str, tuple[Kind, int, int]] = {  # kind, its frames, and those of a flash amid each shot
    "cut": ("cut", 0, 0),
    "cut, flashes": ("cut", 0, 2),
    "dissolve 8": ("dissolve", 8, 0),
    "dissolve 24": ("dissolve", 24, 0),
    "fade 24": ("fade", 24, 0),
    "fade 48": ("fade", 48, 0),
}
# The least recall and precision of transnetv2, and the most that its CPU seconds may be of content's; measured 1.00, 1.00, 33.
RECALL, PRECISION, TIMES_CONTENT = 0.9, 0.85, 80
DEFAULTS = split.Params()
Borders = list[float]  # in frames: between two of them, or amid a transition


@dataclass
class Score:
    """Transitions, those found, borders, those in a transition, and what finding them took."""

    transitions: int = 0
    found: int = 0
    borders: int = 0
    right: int = 0
    cpu_s: float = 0.0
    video_s: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def recall(self) -> float:
        return self.found / self.transitions

    @property
    def precision(self) -> float:
        return self.right / max(1, self.borders)


def transnetv2(path: Path, num_frames: int) -> Borders:
    """Between the last frame of a scene and the first of the next."""
    model, shown = network(), transnet_frames.pieces(str(path), Limits(), lambda function, *args: function(*args))
    probabilities = np.concatenate([answer.probabilities for answer in model(list(transnet.windows(shown)))])
    found = transnet.scene_frames(probabilities, DEFAULTS.transnetv2_threshold)
    return [(last + first) / 2 for (_, last), (first, _) in pairwise(found)]


def by_content(path: Path, num_frames: int) -> Borders:
    """Before the first frame after a cut."""
    detector = content.adaptive_detector(DEFAULTS.adaptive_threshold, DEFAULTS.min_content_val, DEFAULTS.window_width)
    with container.open_video(str(path), Limits()) as video:
        return [at_s * FPS - 0.5 for at_s in content.cut_times(video, detector)[0]]


def fixed_stride(path: Path, num_frames: int) -> Borders:
    """By the clock, whatever is shown: what is found by luck."""
    return [start_s * FPS - 0.5 for start_s, _ in split.fixed_stride_spans(num_frames / FPS, DEFAULTS)[1:]]


@lru_cache(maxsize=1)
def network() -> Callable[[list[transnet.Window]], list[transnet.Answer]]:
    """The model, loaded before anything is timed, on one core as a task of Spark's."""
    torch.set_num_threads(1)
    model = transnet.load("cpu")
    model([transnet.Window(np.zeros(50), np.zeros((100, 27, 48, 3), np.uint8))])
    return model


METHODS = {"transnetv2": transnetv2, "content": by_content, "fixed_stride": fixed_stride}


def judged(borders: Borders, truth: list[Transition]) -> Score:
    """What a method found and what it invented."""
    ends = [(t.first - 0.5 - TOLERANCE, t.after - 0.5 + TOLERANCE) for t in truth]
    found = sum(any(first <= border <= after for border in borders) for first, after in ends)
    right = sum(any(first <= border <= after for first, after in ends) for border in borders)
    return Score(len(truth), found, len(borders), right)


def measured(name: str, path: Path, num_frames: int, truth: list[Transition]) -> Score:
    """A method's score on one reel, decoding included."""
    begin = time.process_time()
    borders = METHODS[name](path, num_frames)
    cpu_s = time.process_time() - begin
    return judged(borders, truth) + Score(cpu_s=cpu_s, video_s=num_frames / FPS)


def test_the_methods_on_known_transitions(tmp_path: Path) -> None:
    network()
    table = {(line, name): Score() for line in LINES for name in METHODS}
    for line, (kind, length, flash) in LINES.items():
        for seed in SEEDS:
            shots = [reels.with_flash(shot, flash) for shot in reels.random_shots(NUM_SHOTS, seed, LEAST_FRAMES)]
            shown, truth = reels.join_shots(shots, kind, length)
            path = reels.write(tmp_path / f"{line}-{seed}.mp4", shown)
            for name in METHODS:
                table[line, name] += measured(name, path, len(shown), truth)
    whole = {name: sum((table[line, name] for line in LINES), Score()) for name in METHODS}
    cost = {name: 60 * score.cpu_s / score.video_s for name, score in whole.items()}
    ratio = cost["transnetv2"] / cost["content"]
    print(f"\n{'recall / precision':20}" + "".join(f"{name:>16}" for name in METHODS))
    for line in LINES:
        told = [table[line, name] for name in METHODS]
        print(f"{line:20}" + "".join(f"{s.recall:9.2f} / {s.precision:.2f}" for s in told))
    print(f"{'all':20}" + "".join(f"{s.recall:9.2f} / {s.precision:.2f}" for s in whole.values()))
    print(
        f"{table['cut', 'content'].transitions} transitions a line; a border counts up to {TOLERANCE} frames beside one"
    )
    print(f"CPU s a minute of video: transnetv2 {cost['transnetv2']:.1f}, content {cost['content']:.2f}: {ratio:.0f}x")
    assert min(table[line, "transnetv2"].recall for line in LINES) >= RECALL
    assert min(table[line, "transnetv2"].precision for line in LINES if "flashes" not in line) >= PRECISION
    assert table["cut", "content"].recall >= RECALL
    assert ratio < TIMES_CONTENT
