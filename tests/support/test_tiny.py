"""The tiny models load and answer as the real ones do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from tests.support import tiny

OFFLINE: dict[str, Any] = {"local_files_only": True}
WEIGHTS: dict[str, Any] = OFFLINE | {"use_safetensors": True}
DARK, BRIGHT = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 255, np.uint8)
MESSAGES = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Describe this video."}]}]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tiny models, built once."""
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder)
    return folder


def test_tiny_models_are_small_and_in_the_format_of_the_hub(root: Path) -> None:
    assert {folder.name for folder in root.iterdir()} == set(tiny.BUILDERS)
    for folder in root.iterdir():
        assert {"config.json", "model.safetensors"} <= {file.name for file in folder.iterdir()}
        assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000


@pytest.mark.nights
def test_another_process_builds_the_same_bytes(root: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.support.tiny", str(tmp_path)], check=True, capture_output=True)
    for file in (file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        assert (tmp_path / file.relative_to(root)).read_bytes() == file.read_bytes(), file


@pytest.mark.parametrize(("name", "dim"), [("clip", 32), ("siglip2", 64)])
def test_pictures_and_texts_get_vectors_that_tell_them_apart(root: Path, name: str, dim: int) -> None:
    processor = AutoProcessor.from_pretrained(root / name, **OFFLINE)
    model = AutoModel.from_pretrained(root / name, **WEIGHTS)
    inputs = processor(
        images=[DARK, BRIGHT], text=["a boat", "two children run"], padding="max_length", return_tensors="pt"
    )
    with torch.inference_mode():
        pictures = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
        texts = model.get_text_features(input_ids=inputs["input_ids"]).pooler_output
    for vectors in (normalize(pictures), normalize(texts)):
        assert vectors.shape == (2, dim)
        assert float(vectors[0] @ vectors[1]) < 0.95


def test_x_clip_takes_eight_frames(root: Path) -> None:
    processor, model = (kind.from_pretrained(root / "x-clip", **OFFLINE) for kind in (AutoProcessor, AutoModel))
    inputs = processor(videos=[[DARK] * 8, [BRIGHT] * 8], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 8, 3, 32, 32)
    with torch.inference_mode():
        vectors = normalize(model.get_video_features(**inputs).pooler_output)
    assert vectors.shape == (2, 32)
    assert float(vectors[0] @ vectors[1]) < 0.95


def test_cosmos_needs_trust_and_gives_unit_vectors_of_videos_and_texts(root: Path) -> None:
    folder = root / "cosmos-embed1"
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoModel.from_pretrained(folder, trust_remote_code=False, **WEIGHTS)
    preprocess = AutoProcessor.from_pretrained(folder, trust_remote_code=True, **OFFLINE)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, **WEIGHTS)
    videos = np.stack([np.stack([picture.transpose(2, 0, 1)] * 8) for picture in (DARK, BRIGHT)])
    with torch.inference_mode():
        seen = model.get_video_embeddings(**preprocess(videos=videos)).visual_proj
        read = model.get_text_embeddings(**preprocess(text=["a boat", "snow", "a dog"])).text_proj
    assert (seen.shape, read.shape) == ((2, 16), (3, 16))
    assert torch.allclose(torch.cat([seen, read]).norm(dim=-1), torch.ones(5))
    assert float(seen[0] @ seen[1]) < 0.95


def test_cosmos_uses_the_weights_of_its_file(root: Path) -> None:
    folder = root / "cosmos-embed1"
    model = AutoModel.from_pretrained(folder, trust_remote_code=True, **WEIGHTS)
    assert torch.equal(model.video.weight, load_file(folder / "model.safetensors")["video.weight"])


def test_the_aesthetic_head_has_the_published_layers(root: Path) -> None:
    weights = load_file(root / "aesthetic-mlp" / "model.safetensors")
    shapes = {name: tuple(value.shape) for name, value in weights.items() if name.endswith("weight")}
    assert shapes == {
        "layers.0.weight": (1024, 32),
        "layers.2.weight": (128, 1024),
        "layers.4.weight": (64, 128),
        "layers.6.weight": (16, 64),
        "layers.7.weight": (1, 16),
    }


def test_the_language_model_answers_a_chat_in_whole_words(root: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(root / "qwen-lm", **OFFLINE)
    model: Any = AutoModelForCausalLM.from_pretrained(root / "qwen-lm", **WEIGHTS)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Describe it."}], tokenize=False, add_generation_prompt=True
    )
    assert prompt.endswith("<|im_start|>user\nDescribe it.<|im_end|>\n<|im_start|>assistant\n")
    inputs = tokenizer(prompt, return_tensors="pt")
    answer = tokenizer.decode(model.generate(**inputs, max_new_tokens=6)[0, inputs["input_ids"].shape[1] :])
    assert len(answer.split()) == 6
    assert set(answer.split()) <= set(tiny.TEXT.split())


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_a_vision_model_describes_two_videos_in_different_words(root: Path, name: str) -> None:
    processor = AutoProcessor.from_pretrained(root / name, **OFFLINE)
    model: Any = AutoModelForImageTextToText.from_pretrained(root / name, **WEIGHTS)
    prompt = processor.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    about = {"fps": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3], "duration": 2.0}
    texts = []
    for picture in (DARK, BRIGHT):
        video = np.stack([picture.transpose(2, 0, 1)] * 4)
        inputs = processor(
            text=[prompt], videos=[video], video_metadata=[about], do_sample_frames=False, return_tensors="pt"
        )
        new = model.generate(**inputs, max_new_tokens=8)[:, inputs["input_ids"].shape[1] :]
        texts += processor.batch_decode(new, skip_special_tokens=True)
    assert all(set(text.split()) <= set(tiny.TEXT.split()) and len(text.split()) == 8 for text in texts)
    assert texts[0] != texts[1]
