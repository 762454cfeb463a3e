"""cosmos: a folder with Cosmos-Embed1, whose own Python code runs -> vectors of clips and of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoProcessor

from udfs.frames.extract import Pictures
from udfs.models import embedding_models, hf_towers, transformers4_compat
from udfs.models.embedding_models import Model, Vectors, Wish


def load(folder: str, wish: Wish, device: str) -> Model:
    """The model and its processor, which squeezes a clip into a square as the model was trained."""
    wants = embedding_models.wants(folder, wish.num_frames)
    model = transformers4_compat.load(folder, hf_towers.dtype(wish, device), device)
    with transformers4_compat.reading_code():
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    dim = int(model.config.embed_dim)
    return Model(wants.fit, wants.num_frames, dim, partial(_clips, model, processor), partial(_texts, model, processor))


@torch.inference_mode()
def _clips(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    videos = torch.stack(hf_towers.on_device(clips, model.device))  # all of one size: the model's own
    inputs = processor(videos=videos, return_tensors="pt")
    return hf_towers.unit(model.get_video_embeddings(**hf_towers.to_model(inputs, model)).visual_proj)


@torch.inference_mode()
def _texts(model: Any, processor: Any, texts: Sequence[str]) -> Vectors:
    inputs = processor(text=list(texts), return_tensors="pt")
    return hf_towers.unit(model.get_text_embeddings(**hf_towers.to_model(inputs, model)).text_proj)
