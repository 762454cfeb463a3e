"""cosmos: a folder with Cosmos-Embed1, whose own Python code runs -> vectors of clips and of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoProcessor

from udfs import embedders, legacy, towers
from udfs.embedders import Model, Vectors, Wish
from udfs.frames.extract import Pictures


def load(folder: str, wish: Wish, device: str) -> Model:
    """The model and its processor, which squeezes a clip into a square as the model was trained."""
    wants = embedders.wants(folder, wish.num_frames)
    model = legacy.load(folder, towers.dtype(wish, device), device)
    with legacy.reading_code():
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    dim = int(model.config.embed_dim)
    return Model(wants.fit, wants.num_frames, dim, partial(_clips, model, processor), partial(_texts, model, processor))


@torch.inference_mode()
def _clips(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    videos = torch.stack(towers.on_device(clips, model.device))  # all of one size: the model's own
    inputs = processor(videos=videos, return_tensors="pt")
    return towers.unit(model.get_video_embeddings(**towers.to_model(inputs, model)).visual_proj)


@torch.inference_mode()
def _texts(model: Any, processor: Any, texts: Sequence[str]) -> Vectors:
    inputs = processor(text=list(texts), return_tensors="pt")
    return towers.unit(model.get_text_embeddings(**towers.to_model(inputs, model)).text_proj)
