"""Tiny random embedding models of every kind, clips to show them, and the library's vectors as unit vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from tests.support import tiny
from udfs import embed
from udfs.frames.extract import Pictures
from udfs.models import embedding_models
from udfs.models.embedding_config import Model, Vectors

Sizes = dict[str, Any]
TEXTS = ["A red ball", "snow covers the cabin and a train crosses the bridge"]


def siglip2_of_any_size(folder: Path) -> Path:
    """A Siglip2Model, which keeps a picture's aspect: 4 patches of 8 px."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tiny.siglip2(folder)
    side: Sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = side | {
        "vocab_size": len(AutoTokenizer.from_pretrained(folder)),
        "max_position_embeddings": 16,
        "projection_size": 32,
    }
    torch.manual_seed(3)
    Siglip2Model(
        Siglip2Config(text_config=text, vision_config=side | {"num_patches": 16, "patch_size": 8})
    ).save_pretrained(folder)
    (folder / "processor_config.json").unlink()
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """A Dinov2Model, which knows no text."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(3)
    side: Sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    Dinov2Model(Dinov2Config(**side)).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def videoprism(folder: Path) -> Path:
    """A VideoPrismClipModel: 4 frames of 36 px."""
    from transformers import LlavaOnevisionVideoProcessor, VideoPrismClipModel, VideoPrismConfig, VideoPrismTokenizer

    words = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((f"▁{word}", -1.0) for word in sorted(set(tiny.TEXT.split()))),
    ]
    tokenizer = VideoPrismTokenizer(words, extra_ids=0)
    side: Sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = side | {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "max_position_embeddings": 16}
    vision = side | {
        "image_size": 36,
        "num_frames": 4,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
    }
    torch.manual_seed(3)
    VideoPrismClipModel(VideoPrismConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    LlavaOnevisionVideoProcessor(size={"height": 36, "width": 36}, do_normalize=False).save_pretrained(folder)
    return folder


# The interface of OpenGVLab/InternVideo2-Stage2_6B: frames are the caller's to prepare, a text comes alone.
INTERNVIDEO2 = '''
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "InternVideo2_Stage2"
    num_frames: int = 4
    device: str = "cuda"


class InternVideo2_Stage2(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.vision_encoder = nn.Linear(3 * 4, 8)
        self.vision_proj = nn.Linear(8, 6)
        self.words = nn.Embedding(128, 6)
        self.post_init()

    def get_vid_feat(self, frames):
        """B x T x 3 x H x W -> B x 1 x 6"""
        seen = self.vision_proj(self.vision_encoder(frames.mean(dim=(3, 4)).flatten(1)))
        return nn.functional.normalize(seen, dim=-1)[:, None]

    def get_txt_feat(self, text):
        codes = torch.tensor([ord(c) % 128 for c in text], device=self.config.device)
        return nn.functional.normalize(self.words(codes).mean(dim=0, keepdim=True), dim=-1)
'''


def internvideo2(folder: Path) -> Path:
    """A model with InternVideo2's interface: 4 frames, vectors of 6."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "modeling_internvideo2.py").write_text(INTERNVIDEO2)
    auto = {"AutoConfig": "modeling_internvideo2.Config", "AutoModel": "modeling_internvideo2.InternVideo2_Stage2"}
    about = {"model_type": "InternVideo2_Stage2", "num_frames": 4, "auto_map": auto, "image_size": 32}
    (folder / "config.json").write_text(json.dumps(about))
    torch.manual_seed(3)
    layers = {
        "vision_encoder": torch.nn.Linear(12, 8),
        "vision_proj": torch.nn.Linear(8, 6),
        "words": torch.nn.Embedding(128, 6),
    }
    save_file(
        {f"{name}.{key}": v for name, layer in layers.items() for key, v in layer.state_dict().items()},
        folder / "model.safetensors",
    )
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": tiny.clip,
    "siglip": tiny.siglip2,
    "siglip2": siglip2_of_any_size,
    "dinov2": dinov2,
    "x_clip": tiny.x_clip,
    "videoprism": videoprism,
    "cosmos": tiny.cosmos,
    "internvideo2": internvideo2,
}


def loaded(folder: str, **settings: Any) -> Model:
    """The model in a folder, by the settings of [embed]."""
    return embedding_models.load(folder, embed.Params(model=folder, **settings), "cpu")


def clips(model: Model, count: int = 3) -> list[Pictures]:
    """Different pictures, smooth and of the size that the model asks for."""
    width, height = model.fit(96, 64)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    times, tints = np.arange(model.num_frames)[:, None, None, None], np.arange(3) / 3
    waves = [np.sin((x[..., None] * (c + 1) + y[..., None] * times) / 9 + c) + tints for c in range(count)]
    return [(wave * 60 + 120).clip(0, 255).astype(np.uint8) for wave in waves]


def unit(features: Any) -> Vectors:
    """As a user of the library writes it."""
    rows = features if isinstance(features, torch.Tensor) else features.pooler_output
    vectors: Vectors = (rows / rows.norm(dim=-1, keepdim=True)).detach().numpy()
    return vectors
