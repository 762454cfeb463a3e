"""Score pictures with a head of linear layers on the image vectors of a CLIP model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoImageProcessor, CLIPVisionModelWithProjection
from transformers.utils import logging

from udfs.core import user_code
from udfs.frames.extract import Pictures
from udfs.models import user_models
from udfs.models.registry import MissingModelError

LAYER = re.compile(r"layers\.(\d+)\.weight")
Layer = tuple[torch.Tensor, torch.Tensor]  # weight and bias
Scores = npt.NDArray[np.float32]
Head = Callable[[torch.Tensor], Any]  # vectors -> a score each


def load(folder: str, head_folder: str, dtype: str, device: str) -> Callable[[Sequence[Pictures]], list[Scores]]:
    """A function from pictures, height x width x 3, to one array of scores per picture.

    Raises:
        MissingModelError: the head has no linear layers, or takes vectors of another length.
    """
    tower = _image_tower(folder, getattr(torch, dtype))
    head = _head(head_folder, folder, tower.config.projection_dim, device)
    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    return partial(_score, tower.to(device).eval(), processor, head)


def _head(head_folder: str, folder: str, dim: int, device: str) -> Head:
    """The function from CLIP's vectors to scores: linear layers, or one of the user's own."""
    if user_code.is_function(head_folder):
        own = user_models.load(head_folder, device)
        return lambda vectors: own(vectors.cpu().numpy())
    layers = [(weight.to(device), bias.to(device)) for weight, bias in head_layers(head_folder)]
    if (head_dim := layers[0][0].shape[1]) != dim:
        raise MissingModelError(f"the head {head_folder} takes vectors of {head_dim}, {folder} makes vectors of {dim}")
    return partial(_linear, layers)


def _linear(layers: list[Layer], vectors: torch.Tensor) -> npt.NDArray[np.float32]:
    for weight, bias in layers:  # no activations between them
        vectors = F.linear(vectors, weight, bias)
    scores: npt.NDArray[np.float32] = vectors.cpu().numpy()
    return scores


def _image_tower(folder: str, dtype: torch.dtype) -> Any:
    """The image part of a CLIP model.

    Raises:
        MissingModelError: the folder lacks some of the weights, which the library would fill at
            random.
    """
    logging.disable_progress_bar()  # a worker's log is no terminal
    logging.set_verbosity_error()  # else the names of all weights of the text part are logged
    loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    tower, info = loaded
    if info["missing_keys"]:
        raise MissingModelError(f"{folder} holds only a part of a CLIP: no {sorted(info['missing_keys'])[0]}")
    return tower


def head_layers(folder: str) -> list[Layer]:
    """The linear layers in order, in float32: `layers.<number>.weight` and `.bias`.

    Dropouts take numbers, too.

    Raises:
        MissingModelError: the folder holds no such layers.
    """
    weights = _weights(Path(folder))
    numbers = sorted(int(match[1]) for name in weights if (match := LAYER.fullmatch(name)))
    missing = [f"layers.{n}.bias" for n in numbers if f"layers.{n}.bias" not in weights]
    if missing or not numbers:
        raise MissingModelError(f"{folder} holds no linear layers: no {(missing or ['layers.0.weight'])[0]}")
    return [(weights[f"layers.{n}.weight"].float(), weights[f"layers.{n}.bias"].float()) for n in numbers]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    safetensors, pickled = sorted(folder.glob("*.safetensors")), sorted([*folder.glob("*.pth"), *folder.glob("*.bin")])
    if safetensors:
        return load_file(safetensors[0])
    if pickled:
        weights: dict[str, torch.Tensor] = torch.load(pickled[0], map_location="cpu", weights_only=True)
        return weights
    raise MissingModelError(f"{folder} holds no weights")


@torch.inference_mode()
def _score(tower: Any, processor: Any, head: Head, pictures: Sequence[Pictures]) -> list[Scores]:
    images = [torch.from_numpy(picture).to(tower.device).permute(2, 0, 1) for picture in pictures]
    pixels = processor(images=images, return_tensors="pt", device=tower.device)["pixel_values"]
    values = F.normalize(tower(pixel_values=pixels.to(tower.dtype)).image_embeds.float(), dim=-1)
    return user_models.scores(lambda _: head(values), pictures)
