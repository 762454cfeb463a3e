"""Vectors of models of transformers equal those of the library's own calls on the same frames and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from tests.support.tiny_embedders import TEXTS, clips, loaded, unit
from udfs import embed
from udfs.models import hf_towers

PICTURES = ("clip", "siglip", "siglip2", "dinov2")


@pytest.mark.parametrize("name", PICTURES)
def test_a_clip_is_the_mean_direction_of_what_the_library_says_of_its_frames(
    folders: dict[str, str], name: str
) -> None:
    mine, library = loaded(folders[name]), AutoModel.from_pretrained(folders[name])
    processor = AutoImageProcessor.from_pretrained(folders[name])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        inputs = processor(images=[Image.fromarray(picture) for picture in clip], return_tensors="pt")
        frames = unit(library.get_image_features(**inputs) if mine.encode_text else library(**inputs))
        mean = frames.mean(axis=0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_model_of_frames_in_order_says_what_the_library_says(folders: dict[str, str]) -> None:
    mine, library = loaded(folders["x_clip"]), AutoModel.from_pretrained(folders["x_clip"])
    processor = AutoImageProcessor.from_pretrained(folders["x_clip"])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        pixels = processor(images=[Image.fromarray(picture) for picture in clip], return_tensors="pt").pixel_values
        expected = unit(library.get_video_features(pixels.reshape(1, 8, 3, 32, 32)))[0]
        assert np.allclose(vector, expected, atol=1e-5)


def test_a_model_of_videos_says_what_the_library_says(folders: dict[str, str]) -> None:
    from transformers import AutoVideoProcessor

    mine, library = loaded(folders["videoprism"]), AutoModel.from_pretrained(folders["videoprism"])
    processor: Any = AutoVideoProcessor.from_pretrained(folders["videoprism"])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        video = torch.from_numpy(clip).permute(0, 3, 1, 2)
        inputs = processor(videos=[video], do_sample_frames=False, return_tensors="pt")
        assert np.allclose(vector, unit(library.get_video_features(inputs.pixel_values_videos))[0], atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "x_clip", "videoprism"])
def test_texts_say_what_the_library_says(folders: dict[str, str], name: str) -> None:
    mine, library = loaded(folders[name]), AutoModel.from_pretrained(folders[name])
    padding = (
        {"padding": True}
        if name in ("clip", "x_clip")
        else {"padding": "max_length", "max_length": 16, "truncation": True}
    )
    texts = [text.lower() for text in TEXTS] if name in hf_towers.LOWER_CASE else TEXTS
    inputs = AutoTokenizer.from_pretrained(folders[name])(texts, return_tensors="pt", **padding)
    assert mine.encode_text
    assert np.allclose(mine.encode_text(TEXTS), unit(library.get_text_features(**inputs)), atol=1e-5)


@pytest.mark.parametrize("name", PICTURES)
def test_clips_of_different_shapes_go_through_together(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    wide, tall = (
        np.random.default_rng(0).integers(0, 256, (8, *size, 3), dtype=np.uint8) for size in ((32, 48), (56, 32))
    )
    assert np.allclose(mine.encode([wide, tall])[1], mine.encode([tall])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "x_clip"])
def test_half_precision_points_the_same_way(folders: dict[str, str], name: str) -> None:
    exact, half = loaded(folders[name]), loaded(folders[name], dtype="bfloat16")
    shown = clips(exact)
    assert (exact.encode(shown) * half.encode(shown)).sum(axis=1).min() > 0.98


def test_auto_is_half_precision_on_a_gpu_alone() -> None:
    auto = embed.Params()
    assert (hf_towers.dtype(auto, "cpu"), hf_towers.dtype(auto, "cuda:0")) == (torch.float32, torch.bfloat16)
    assert hf_towers.dtype(embed.Params(dtype="float16"), "cpu") == torch.float16


def test_a_picture_model_takes_any_number_of_frames(folders: dict[str, str]) -> None:
    mine = loaded(folders["clip"], num_frames=3)
    assert mine.num_frames == 3
    assert mine.encode([clip[:3] for clip in clips(mine)]).shape == (3, 32)


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
def test_models_that_were_trained_on_lower_case_get_it(folders: dict[str, str], name: str) -> None:
    encode_text = loaded(folders[name]).encode_text
    assert encode_text
    assert np.array_equal(encode_text([text.title() for text in TEXTS]), encode_text(TEXTS))
