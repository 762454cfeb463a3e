"""Embed clips and texts with InternVideo2 stage 2, which comes with Python code of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from udfs.frames.extract import Pictures
from udfs.models import embedding_config, hf_towers, transformers4_compat
from udfs.models.embedding_config import LoadSettings, Model, Vectors

# ImageNet's mean and deviation, as in training; the model's code leaves preprocessing to the
# caller.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(folder: str, settings: LoadSettings, device: str) -> Model:
    """The model; it has no processor."""
    wants = embedding_config.wants(folder, settings.num_frames)
    model = transformers4_compat.load(folder, hf_towers.dtype(settings, device), device)
    model.config.device = device  # its own code puts the tokens of a text there
    dim = int(model.vision_proj.out_features)
    return Model(wants.fit, wants.num_frames, dim, partial(_encode_clips, model), partial(_encode_texts, model))


@torch.inference_mode()
def _encode_clips(model: Any, clips: Sequence[Pictures]) -> Vectors:
    videos = torch.stack(hf_towers.on_device(clips, model.device)).float() / 255
    mean, std = (torch.tensor(values, device=model.device)[:, None, None] for values in (MEAN, STD))
    return hf_towers.unit(model.get_vid_feat(((videos - mean) / std).to(model.dtype)).reshape(len(clips), -1))


@torch.inference_mode()
def _encode_texts(model: Any, texts: Sequence[str]) -> Vectors:
    return hf_towers.unit(torch.cat([model.get_txt_feat(text).reshape(1, -1) for text in texts]))
