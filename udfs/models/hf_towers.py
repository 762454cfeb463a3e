"""Embed clips and texts with image-text and video-text models of transformers itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, AutoVideoProcessor
from transformers.utils.logging import disable_progress_bar

from udfs.frames.extract import Pictures
from udfs.models import embedding_config
from udfs.models.embedding_config import LoadSettings, Model, Vectors

LOCAL: dict[str, Any] = {"local_files_only": True}
LOWER_CASE = ("siglip", "siglip2")  # trained on such texts; the tokenizer of SigLIP 2 leaves them as they are


def load(folder: str, settings: LoadSettings, device: str) -> Model:
    """A model of the folder's kind with the library's own preprocessing, which runs on the same device."""
    disable_progress_bar()  # a worker's log is no terminal
    wants = embedding_config.wants(folder, settings.num_frames)
    model = (
        AutoModel.from_pretrained(folder, dtype=dtype(settings, device), use_safetensors=True, **LOCAL)
        .to(device)
        .eval()
    )
    kind: Any = AutoVideoProcessor if wants.kind == "videoprism" else AutoImageProcessor
    encoder = {"videoprism": _encode_videos, "xclip": _encode_frame_sequences}.get(wants.kind, _encode_frames)
    encode = partial(encoder, model, kind.from_pretrained(folder, **LOCAL))
    encode_text = None
    if wants.text:
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        encode_text = partial(_encode_texts, model, tokenizer, lower=wants.kind in LOWER_CASE)
    return Model(wants.fit, wants.num_frames, _dim(model.config), encode, encode_text)


def dtype(settings: LoadSettings, device: str) -> torch.dtype:
    """The precision of the weights."""
    auto = "float32" if device == "cpu" else "bfloat16"
    chosen: torch.dtype = getattr(torch, auto if settings.dtype == "auto" else settings.dtype)
    return chosen


def unit(features: torch.Tensor) -> Vectors:
    """The rows scaled to length 1, in float32 on the CPU."""
    vectors: Vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return vectors


def on_device(clips: Sequence[Pictures], device: torch.device) -> list[torch.Tensor]:
    """Each clip as a tensor of bytes, frames x 3 x height x width."""
    return [torch.from_numpy(clip).to(device).permute(0, 3, 1, 2) for clip in clips]


@torch.inference_mode()
def _encode_frames(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """Per clip the normalized mean of its frames' normalized vectors; the model sees all frames at once."""
    inputs = _preprocess(model, processor, clips)
    features = pooled(model.get_image_features(**inputs) if hasattr(model, "get_image_features") else model(**inputs))
    frames = torch.nn.functional.normalize(features.float(), dim=-1)
    return unit(frames.unflatten(0, (len(clips), -1)).mean(dim=1))


@torch.inference_mode()
def _encode_frame_sequences(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """Vectors of a model that sees the frames of a clip together, each prepared as a picture."""
    pixels = _preprocess(model, processor, clips)["pixel_values"]
    return unit(pooled(model.get_video_features(pixels.reshape(len(clips), -1, *pixels.shape[-3:]))))


@torch.inference_mode()
def _encode_videos(model: Any, processor: Any, clips: Sequence[Pictures]) -> Vectors:
    """Vectors of a model that sees a clip as a video."""
    videos = on_device(clips, model.device)
    inputs = processor(videos=videos, do_sample_frames=False, return_tensors="pt", device=model.device)
    return unit(pooled(model.get_video_features(inputs["pixel_values_videos"].to(model.dtype))))


def _preprocess(model: Any, processor: Any, clips: Sequence[Pictures]) -> dict[str, torch.Tensor]:
    pictures = [picture for clip in on_device(clips, model.device) for picture in clip]
    inputs = processor(images=pictures, return_tensors="pt", input_data_format="channels_first", device=model.device)
    return to_model(inputs, model)


@torch.inference_mode()
def _encode_texts(model: Any, tokenizer: Any, texts: Sequence[str], *, lower: bool) -> Vectors:
    """Texts are padded to the model's full length: SigLIP and VideoPrism were trained so, and CLIP does not mind."""
    texts = [text.lower() if lower else text for text in texts]
    length = int(model.config.text_config.max_position_embeddings)
    inputs = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return unit(pooled(model.get_text_features(**to_model(inputs, model))))


def to_model(inputs: Any, model: Any) -> dict[str, torch.Tensor]:
    """A processor's output on the model's device, pixels in the model's precision."""
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in inputs.items()
    }


def pooled(output: Any) -> torch.Tensor:
    """The pooled vectors of a model's output, one per row; VideoPrism's have one more axis."""
    features: torch.Tensor = output.pooler_output
    return features.flatten(1)


def _dim(config: Any) -> int:
    projected = getattr(config, "projection_dim", None) if hasattr(config, "text_config") else None
    return int(projected or getattr(config, "vision_config", config).hidden_size)
