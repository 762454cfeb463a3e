"""Models of the user's own: whatever kind of numbers they give, and whatever they raise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from udfs import caption, embed
from udfs.captioning.engines import OwnEngine
from udfs.captioning.requests import Answer, Request
from udfs.core.errors import MediaError, OutputError
from udfs.core.user_code import UserCodeError
from udfs.models import registry, user_models

torch = pytest.importorskip("torch")
PICTURES = [np.zeros((8, 8, 3), np.uint8)] * 2
CODE = """
import functools

import torch

NUM_FRAMES = 3


class Tower:
    def encode(self, clips):
        if any(clip.mean() > 200 for clip in clips):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return [torch.ones(2, dtype=torch.bfloat16, requires_grad=True) for clip in clips]


def _load(device, kind):
    return kind()


load = functools.partial(_load, kind=Tower)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a module of the user's own, and import it again where it is asked for."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(code: str) -> str:
        monkeypatch.delitem(sys.modules, "own_tower", raising=False)
        (tmp_path / "own_tower.py").write_text(code, encoding="utf-8")
        return "own_tower:load"

    return write


@pytest.mark.parametrize(
    "found",
    [
        [[3, 4], [0, 1]],
        np.array([[3, 4], [0, 1]], np.float16),
        torch.tensor([[3, 4], [0, 1]], dtype=torch.bfloat16),
        torch.tensor([[3.0, 4.0], [0.0, 1.0]], requires_grad=True),
        [torch.tensor([3.0, 4.0], dtype=torch.bfloat16), torch.tensor([0.0, 1.0], requires_grad=True)],
        (np.array([3, 4]), [0, np.int8(1)]),
    ],
    ids=str,
)
def test_vectors_may_be_of_any_kind(found: Any) -> None:
    vectors = user_models.unit_vectors(lambda inputs: found, ["a", "b"])
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, np.array([[0.6, 0.8], [0, 1]]))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([[1.0, 2.0]], "vectors of shape (1, 2) for 2 inputs"),
        ([1.0, 2.0], "vectors of shape (2,) for 2 inputs"),
        ([[1.0], [1.0, 2.0]], "no array of numbers: "),
        (None, "vectors of shape () for 2 inputs"),
        ([["a"], ["b"]], "no array of numbers: could not convert string to float"),
    ],
)
def test_what_is_no_vector_each_is_refused(found: Any, told: str) -> None:
    with pytest.raises(MediaError) as caught:
        user_models.unit_vectors(lambda inputs: found, ["a", "b"])
    assert caught.value.message.startswith(told)


@pytest.mark.parametrize(
    "found",
    [[0.5, 1.5], torch.tensor([[0.5], [1.5]], requires_grad=True), [torch.tensor(0.5), np.float16(1.5)]],
    ids=str,
)
def test_scores_may_be_of_any_kind_too(found: Any) -> None:
    assert [score.tolist() for score in user_models.scores(lambda pictures: found, PICTURES)] == [[0.5], [1.5]]


def test_scores_are_one_each() -> None:
    with pytest.raises(MediaError, match=r"scores of shape \(3,\) for 2 inputs"):
        user_models.scores(lambda pictures: [1, 2, 3], PICTURES)


def test_an_embedding_that_raises_for_one_clip_fails_that_clip(module: Callable[..., str]) -> None:
    name = module(CODE)
    model = embed.load(name, embed.Params(model=name), "cpu")
    dark, bright = np.zeros((3, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 250, np.uint8)
    first, failed, last = model([(3, dark), (3, bright), (3, dark)])
    assert np.allclose(first.vector, last.vector)
    assert np.allclose(first.vector, 2**-0.5)
    assert isinstance(failed, RuntimeError)


def test_constants_are_those_of_the_module_that_is_named(module: Callable[..., str]) -> None:
    number, _ = user_models.frames(module(CODE), None)
    assert number == 3
    for value in ("0", "'8'", "2.5", "True"):
        with pytest.raises(UserCodeError, match=r"NUM_FRAMES of its module is .*, and no whole number above 0"):
            user_models.frames(module(CODE.replace("NUM_FRAMES = 3", f"NUM_FRAMES = {value}")), None)


def test_an_engine_that_raises_for_one_window_fails_that_window(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(requests: list[Request]) -> list[str | None]:
        if any("bad" in request.prompt for request in requests):
            raise KeyError("bad")
        return [None if "no" in request.prompt else request.prompt for request in requests]

    monkeypatch.setattr(user_models, "load", lambda name, device: generate)
    params = caption.Params(engine="own_tower:load")
    model = caption.load(params, params.generation, registry.Params(), "cpu")
    said, bad, refused = model([Request("say"), Request("bad"), Request("no")])
    assert isinstance(said, caption.WindowAnswers)
    assert said.first.text == "say"
    assert isinstance(bad, KeyError)
    assert isinstance(refused, MediaError)


def test_an_engine_answers_in_a_list() -> None:
    with pytest.raises(MediaError, match="str in place of a list of answers to 1 inputs"):
        OwnEngine(lambda requests: "a text").generate([Request("say")])
    [answer] = OwnEngine(lambda requests: (text for text in ["a text"])).generate([Request("say")])  # type: ignore[arg-type, return-value]
    assert isinstance(answer, Answer)


def test_an_error_of_the_run_is_not_that_of_an_input() -> None:
    def full(inputs: list[Any]) -> list[Any]:
        raise OutputError("no space")

    with pytest.raises(OutputError):
        user_models.one_by_one(full)([1, 2])
