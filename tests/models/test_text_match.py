"""Scores of texts for a clip, and models without a text side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import tiny
from udfs import embed
from udfs.models import embedding_models, registry, text_match
from udfs.models.registry import MissingModelError

HERE = registry.Params()


def test_the_scores_of_texts_are_a_softmax_of_a_hundred_cosines() -> None:
    read = np.array([[1, 0], [0, 1]], np.float32)
    scores = text_match.match_scores(np.array([0.8, 0.6], np.float32), read)
    assert scores == pytest.approx([1 / (1 + np.exp(-20)), 1 / (1 + np.exp(20))], rel=1e-5)


def test_texts_far_from_a_clip_do_not_overflow() -> None:
    scores = text_match.match_scores(np.array([1000, 0], np.float32), np.array([[1, 0], [-1, 0]], np.float32))
    assert scores.tolist() == [1, 0]


def test_one_text_is_read_as_the_model_reads_it(tmp_path: Path) -> None:
    folder = str(tiny.clip(tmp_path / "clip"))
    encode_text = embedding_models.load(folder, embed.Params(), "cpu").encode_text
    assert encode_text
    found = text_match.text_vector("a red ball", folder, embed.Params(), HERE, "cpu")
    assert np.allclose(found, encode_text(["snow", "a red ball"])[1], atol=1e-6)


@pytest.mark.parametrize("model", ["descriptor", "dinov2"])
def test_a_model_that_knows_pictures_only_is_refused_with_those_that_read(tmp_path: Path, model: str) -> None:
    from tests.support.tiny_embedders import dinov2

    name = str(dinov2(tmp_path / model)) if model == "dinov2" else model
    with pytest.raises(MissingModelError, match="cannot encode texts; these can: cosmos-embed1-224p") as caught:
        text_match.text_vector("a red ball", name, embed.Params(), HERE, "cpu")
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="reelmill models --fetch siglip2"):
        text_match.text_vector("a red ball", "siglip2", embed.Params(), registry.Params(dir=str(tmp_path)), "cpu")
