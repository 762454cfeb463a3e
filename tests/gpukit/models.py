"""Models of full size with random weights, made on the GPU from their configurations and never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPProcessor,
)

from tests.gpukit.sizes import Size
from tests.support import tiny

VIT_L14: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 768,
}
# Qwen2.5-VL-7B
LANGUAGE: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
VISION: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "out_hidden_size": 3584,
    "window_size": 112,
}


def clip(folder: Path, size: Size) -> str:
    """The folder of a CLIP, of the size of ViT-L/14 on a GPU, without weights."""
    tiny.clip(folder)
    if size.on_gpu:
        config = AutoConfig.from_pretrained(folder)
        config.vision_config.update(VIT_L14)
        config.projection_dim = config.text_config.projection_dim = VIT_L14["projection_dim"]
        config.save_pretrained(folder)
        CLIPProcessor(CLIPImageProcessor(), AutoTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return _without_weights(folder)


def captioner(folder: Path, size: Size) -> str:
    """The folder of a Qwen2.5-VL, of the size of 7B on a GPU, without weights."""
    tiny.qwen2_5_vl(folder)
    if size.on_gpu:
        config = AutoConfig.from_pretrained(folder)
        config.text_config.update(LANGUAGE)
        config.text_config.rope_parameters["mrope_section"] = [16, 24, 24]
        config.text_config.layer_types = ["full_attention"] * LANGUAGE["num_hidden_layers"]
        config.vision_config.update(VISION)
        config.save_pretrained(folder)
    return _without_weights(folder)


def _without_weights(folder: Path) -> str:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    return str(folder)


@contextmanager
def random_weights(size: Size) -> Iterator[dict[str, Any]]:
    """Let transformers make random weights where it would read them; yields the models by their folders.

    A model that is asked for again is the same one: 16 GB are neither written, read nor made twice.
    """
    made: dict[str, Any] = {}
    with ExitStack() as stack:
        for kind in (AutoModel, AutoModelForImageTextToText):
            stack.enter_context(mock.patch.object(kind, "from_pretrained", _maker(kind, made, size)))
        yield made
    made.clear()


def _maker(kind: Any, made: dict[str, Any], size: Size) -> Callable[..., Any]:
    def from_config(folder: str, dtype: torch.dtype, **_: Any) -> Any:
        if folder not in made:
            with torch.device(size.device):
                made[folder] = kind.from_config(AutoConfig.from_pretrained(folder), dtype=dtype)
            if kind is AutoModelForImageTextToText:
                tiny.restrict_to_words(made[folder], AutoTokenizer.from_pretrained(folder))  # never ends by itself
        return made[folder]

    return from_config
