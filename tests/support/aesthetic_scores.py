"""Aesthetic scores by the library's own processor and model, and the head as its authors wrote it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from udfs.frames.extract import Pictures


def published(pictures: Iterable[Pictures], model_folder: str, head_folder: str) -> list[float]:
    """One score per picture."""
    processor = AutoProcessor.from_pretrained(model_folder, local_files_only=True)
    model = AutoModel.from_pretrained(model_folder, local_files_only=True)
    sizes = [(32, 1024), (1024, 128), (128, 64), (64, 16), (16, 1)]
    linear = [torch.nn.Linear(*size) for size in sizes]
    mlp = torch.nn.Sequential(
        linear[0],
        torch.nn.Dropout(0.2),
        linear[1],
        torch.nn.Dropout(0.2),
        linear[2],
        torch.nn.Dropout(0.1),
        *linear[3:],
    ).eval()
    weights = load_file(f"{head_folder}/model.safetensors")
    mlp.load_state_dict({name.removeprefix("layers."): value for name, value in weights.items()})
    with torch.inference_mode():
        pixels = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        features = model.get_image_features(pixel_values=pixels).pooler_output
        return [float(score) for score in mlp(features / features.norm(dim=-1, keepdim=True))[:, 0]]
