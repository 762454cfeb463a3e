"""InternVideo2: it is shown normalized frames, and its vectors equal those of its own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.support.tiny_embedders import TEXTS, clips, loaded
from udfs.models.registry import MissingModelError


def test_internvideo2_is_shown_pictures_as_imagenet_has_them(folders: dict[str, str]) -> None:
    mine = loaded(folders["internvideo2"])
    library = AutoModel.from_pretrained(folders["internvideo2"], trust_remote_code=True)
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        pixels = (clip / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        frames = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)[None]
        assert np.allclose(vector, library.get_vid_feat(frames).detach().numpy()[0, 0], atol=1e-5)


def test_a_text_says_what_its_own_code_says(folders: dict[str, str]) -> None:
    mine = loaded(folders["internvideo2"])
    library = AutoModel.from_pretrained(folders["internvideo2"], trust_remote_code=True)
    library.config.device = "cpu"
    assert mine.encode_text
    expected = np.concatenate([library.get_txt_feat(text).detach().numpy() for text in TEXTS])
    assert np.allclose(mine.encode_text(TEXTS), expected, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_texts_are_read_on_the_models_device(folders: dict[str, str]) -> None:
    """Its code puts their tokens on the device of its configuration, which is a GPU's."""
    library = AutoModel.from_pretrained(folders["internvideo2"], trust_remote_code=True)
    assert library.config.device == "cuda"
    encode_text = loaded(folders["internvideo2"]).encode_text
    assert encode_text
    assert np.isfinite(encode_text(["a train"])).all()


def test_it_is_loaded_as_its_configuration_says(folders: dict[str, str]) -> None:
    mine = loaded(folders["internvideo2"])
    assert (mine.num_frames, mine.dim, mine.fit(1920, 1080)) == (4, 6, (32, 32))
    with pytest.raises(MissingModelError, match="takes 4 frames per clip, not 8"):
        loaded(folders["internvideo2"], num_frames=8)


def test_half_precision_points_the_same_way(folders: dict[str, str]) -> None:
    exact, half = loaded(folders["internvideo2"]), loaded(folders["internvideo2"], dtype="bfloat16")
    assert (exact.encode(clips(exact)) * half.encode(clips(exact))).sum(axis=1).min() > 0.98
