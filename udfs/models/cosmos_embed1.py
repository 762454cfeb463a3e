"""Embed clips and texts with Cosmos-Embed1, which comes with Python code of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoProcessor

from udfs.frames.extract import Pictures
from udfs.models import embedding_config, hf_towers, transformers4_compat
from udfs.models.embedding_config import LoadSettings, Model, Vectors


def load(folder: str, settings: LoadSettings, device: str) -> Model:
    """The model and its processor, which scales frames to a square without keeping the aspect, as in training."""
    wants = embedding_config.wants(folder, settings.num_frames)
    model = transformers4_compat.load(folder, hf_towers.dtype(settings, device), device)
    with transformers4_compat.code_lock():
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    dim = int(model.config.embed_dim)
    encode, encode_text = (partial(encoder, model, processor) for encoder in (_encode_clips, _encode_texts))
    return Model(wants.fit, wants.num_frames, dim, encode, encode_text)


@torch.inference_mode()
def _encode_clips(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    videos = torch.stack(hf_towers.on_device(clips, model.device))  # all clips have the model's size
    inputs = processor(videos=videos, return_tensors="pt")
    return hf_towers.unit(model.get_video_embeddings(**hf_towers.to_model(inputs, model)).visual_proj)


@torch.inference_mode()
def _encode_texts(model: Any, processor: Any, texts: Sequence[str]) -> Vectors:
    inputs = processor(text=list(texts), return_tensors="pt")
    return hf_towers.unit(model.get_text_embeddings(**hf_towers.to_model(inputs, model)).text_proj)
