"""Cosmos-Embed1: vectors of clips and texts equal those of its own code and its own processor."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoModel, AutoProcessor

from tests.support.tiny_embedders import TEXTS, clips, loaded, unit
from udfs.models.registry import MissingModelError


def test_a_model_of_its_own_code_says_what_that_says(folders: dict[str, str]) -> None:
    mine = loaded(folders["cosmos"])
    library = AutoModel.from_pretrained(folders["cosmos"], trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folders["cosmos"], trust_remote_code=True)
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        inputs = processor(videos=np.transpose(clip[None], (0, 1, 4, 2, 3)), return_tensors="pt")
        assert np.allclose(vector, unit(library.get_video_embeddings(**inputs).visual_proj)[0], atol=1e-5)
    assert mine.encode_text
    texts = unit(library.get_text_embeddings(**processor(text=TEXTS, return_tensors="pt")).text_proj)
    assert np.allclose(mine.encode_text(TEXTS), texts, atol=1e-6)


def test_the_order_of_the_frames_counts(folders: dict[str, str]) -> None:
    mine = loaded(folders["cosmos"])
    [clip] = clips(mine, 1)
    forward, backward = mine.encode([clip, clip[::-1].copy()])
    assert np.abs(forward - backward).max() > 1e-3


def test_it_is_loaded_as_its_configuration_says(folders: dict[str, str]) -> None:
    mine = loaded(folders["cosmos"])
    assert (mine.num_frames, mine.dim, mine.fit(1920, 1080)) == (8, 16, (28, 28))
    with pytest.raises(MissingModelError, match="takes 8 frames per clip, not 16"):
        loaded(folders["cosmos"], num_frames=16)


def test_texts_in_half_precision_point_the_same_way(folders: dict[str, str]) -> None:
    exact, half = (loaded(folders["cosmos"], dtype=dtype).encode_text for dtype in ("float32", "bfloat16"))
    assert exact
    assert half
    assert (exact(TEXTS) * half(TEXTS)).sum(axis=1).min() > 0.98
    assert not np.array_equal(exact(TEXTS), half(TEXTS))
