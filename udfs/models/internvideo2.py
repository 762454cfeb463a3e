"""internvideo: a folder with InternVideo2 stage 2, whose own Python code runs -> vectors of clips and of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from udfs.frames.extract import Pictures
from udfs.models import embedding_models, hf_towers, transformers4_compat
from udfs.models.embedding_models import Model, Vectors, Wish

# ImageNet's, which the model was trained with; its code leaves the preparing of pictures to the caller.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(folder: str, wish: Wish, device: str) -> Model:
    """The model; it needs no processor."""
    wants = embedding_models.wants(folder, wish.num_frames)
    model = transformers4_compat.load(folder, hf_towers.dtype(wish, device), device)
    model.config.device = device  # where its own code puts the tokens of a text
    dim = int(model.vision_proj.out_features)
    return Model(wants.fit, wants.num_frames, dim, partial(_clips, model), partial(_texts, model))


@torch.inference_mode()
def _clips(model: Any, clips: Sequence[Pictures]) -> Vectors:
    videos = torch.stack(hf_towers.on_device(clips, model.device)).float() / 255
    mean, std = (torch.tensor(values, device=model.device)[:, None, None] for values in (MEAN, STD))
    return hf_towers.unit(model.get_vid_feat(((videos - mean) / std).to(model.dtype)).reshape(len(clips), -1))


@torch.inference_mode()
def _texts(model: Any, texts: Sequence[str]) -> Vectors:
    return hf_towers.unit(torch.cat([model.get_txt_feat(text).reshape(1, -1) for text in texts]))
