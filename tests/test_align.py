"""align: cosines between captions and their clips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support import tiny
from udfs import align, embed
from udfs.core.errors import MediaError
from udfs.models import embedding_models, registry
from udfs.models.registry import MissingModelError
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row

ENV = Env(media_root="unused", fingerprint="f" * 16)
HERE = registry.Params()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model of pictures and texts."""
    return str(tiny.clip(tmp_path_factory.mktemp("models") / "clip"))


def clip(vector: Any, *captions: tuple[str, str | None]) -> Row:
    told = [
        {"start_frame": 256 * k, "caption": first, "stage2_caption": second}
        for k, (first, second) in enumerate(captions)
    ]
    return {"clip_id": "a", "model": "clip", "vector": list(vector), "captions": told}


def test_each_caption_is_compared_by_the_models_own_text_side(model: str) -> None:
    params = embed.Params(model=model)
    texts = ["A small boat drifts.", "Two children run.", "A dog."]
    read = embedding_models.load(model, params, "cpu").encode_text
    assert read is not None
    vectors = read(texts)
    row = clip(vectors[0] / np.linalg.norm(vectors[0]), (texts[0], None), (texts[1], None), (texts[2], texts[0]))
    [done] = align.rows([pd.DataFrame([row])], params, ENV)
    assert list(done) == [*align.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert done["start_frame"].tolist() == [0, 256, 512]
    lengths = np.linalg.norm(vectors, axis=1)
    expected = [1.0, float(vectors[0] @ vectors[1] / (lengths[0] * lengths[1])), 1.0]
    assert done["alignment"].tolist() == pytest.approx(expected, abs=1e-5)
    assert expected[1] < 0.999


def test_a_clip_that_shows_nothing_agrees_with_no_text() -> None:
    assert align.cosine(np.zeros(2, np.float32), np.ones(2, np.float32)) is None
    assert align.cosine(np.array([3, 4], np.float32), np.array([4, 3], np.float32)) == pytest.approx(0.96)


@pytest.mark.parametrize("said", [[1.0, 2.0, 3.0], [float("nan"), 1.0]])
def test_a_vector_of_another_kind_is_a_failure(said: list[float]) -> None:
    with pytest.raises(MediaError, match="BAD_OUTPUT"):
        align.finish(clip([1.0, 0.0], ("A boat.", None)), [np.array(said, np.float32)])


def test_a_model_of_pictures_only_is_refused() -> None:
    with pytest.raises(MissingModelError, match=r"^descriptor cannot encode texts; these can: [^\n]*clip"):
        align.check(embed.Params(), HERE)


def test_a_model_that_reads_is_not(model: str) -> None:
    align.check(embed.Params(model=model), HERE)
