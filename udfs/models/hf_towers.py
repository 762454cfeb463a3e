"""towers: a folder with one of transformers' own models of pictures or videos -> vectors of clips and of texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, AutoVideoProcessor
from transformers.utils.logging import disable_progress_bar

from udfs.frames.extract import Pictures
from udfs.models import embedding_models
from udfs.models.embedding_models import Model, Vectors, Wish

LOCAL: dict[str, Any] = {"local_files_only": True}


def load(folder: str, wish: Wish, device: str) -> Model:
    """A model of the folder's kind with the library's own preprocessing, which runs on the device too."""
    disable_progress_bar()  # of loading weights: a worker's log is no terminal
    wants = embedding_models.wants(folder, wish.num_frames)
    model = AutoModel.from_pretrained(folder, dtype=dtype(wish, device), use_safetensors=True, **LOCAL).to(device).eval()
    kind: Any = AutoVideoProcessor if wants.kind == "videoprism" else AutoImageProcessor
    show = {"videoprism": _videos, "xclip": _pictures_in_order}.get(wants.kind, _pictures)
    encode = partial(show, model, kind.from_pretrained(folder, **LOCAL))
    reader = partial(_texts, model, AutoTokenizer.from_pretrained(folder, **LOCAL)) if wants.text else None
    return Model(wants.fit, wants.num_frames, _dim(model.config), encode, reader)


def dtype(wish: Wish, device: str) -> torch.dtype:
    """What the weights are held in."""
    auto = "float32" if device == "cpu" else "bfloat16"
    chosen: torch.dtype = getattr(torch, auto if wish.dtype == "auto" else wish.dtype)
    return chosen


def unit(features: torch.Tensor) -> Vectors:
    """Each row at length 1, in float32 on the CPU."""
    vectors: Vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return vectors


def on_device(clips: Sequence[Pictures], device: torch.device) -> list[torch.Tensor]:
    """Each clip as bytes, frames x 3 x height x width."""
    return [torch.from_numpy(clip).to(device).permute(0, 3, 1, 2) for clip in clips]


@torch.inference_mode()
def _pictures(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """The direction of the mean of the frames' directions; all frames of all clips go through at once."""
    inputs = _processed(model, processor, clips)
    each = pooled(model.get_image_features(**inputs) if hasattr(model, "get_image_features") else model(**inputs))
    frames = torch.nn.functional.normalize(each.float(), dim=-1)
    return unit(frames.unflatten(0, (len(clips), -1)).mean(dim=1))


@torch.inference_mode()
def _pictures_in_order(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """Of a model that sees a clip's pictures together, prepared as pictures."""
    pixels = _processed(model, processor, clips)["pixel_values"]
    return unit(pooled(model.get_video_features(pixels.reshape(len(clips), -1, *pixels.shape[-3:]))))


@torch.inference_mode()
def _videos(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """Of a model that sees a clip as a video."""
    videos = on_device(clips, model.device)
    inputs = processor(videos=videos, do_sample_frames=False, return_tensors="pt", device=model.device)
    return unit(pooled(model.get_video_features(inputs["pixel_values_videos"].to(model.dtype))))


def _processed(model: Any, processor: Any, clips: Sequence[Pictures]) -> dict[str, torch.Tensor]:
    pictures = [picture for clip in on_device(clips, model.device) for picture in clip]
    inputs = processor(images=pictures, return_tensors="pt", input_data_format="channels_first", device=model.device)
    return to_model(inputs, model)


@torch.inference_mode()
def _texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> Vectors:
    """Padded as far as the model reads: SigLIP and VideoPrism were trained so, to CLIP it makes no difference."""
    length = int(model.config.text_config.max_position_embeddings)
    inputs = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return unit(pooled(model.get_text_features(**to_model(inputs, model))))


def to_model(inputs: Any, model: Any) -> dict[str, torch.Tensor]:
    """A processor's answer where the model is, its pictures in the model's own precision."""
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in inputs.items()
    }


def pooled(output: Any) -> torch.Tensor:
    """The vectors in what a model says, a row each; VideoPrism's have an axis more."""
    features: torch.Tensor = output.pooler_output
    return features.flatten(1)


def _dim(config: Any) -> int:
    own = getattr(config, "projection_dim", None) if hasattr(config, "text_config") else None
    return int(own or getattr(config, "vision_config", config).hidden_size)
