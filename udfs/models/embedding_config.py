"""What an embedding model takes of a clip, read from its configuration without importing torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from udfs.core import user_code
from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures
from udfs.models import user_models
from udfs.models.registry import MissingModelError

Vectors = npt.NDArray[np.float32]  # clips or texts x dim, each of length 1
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

DESCRIPTOR = "descriptor"  # udfs/models/copy_descriptor.py: no model with weights
NAMES = (
    *("cosmos-embed1-224p", "cosmos-embed1-336p", "cosmos-embed1-448p"),
    *("clip", "siglip2", "x-clip"),
)
# The model types of transformers that udfs/models/hf_towers.py loads.
WITH_TEXT = ("clip", "siglip", "siglip2", "metaclip_2", "xclip", "videoprism")
PICTURES_ONLY = ("dinov2", "clip_vision_model", "siglip_vision_model")
KINDS = (*WITH_TEXT, *PICTURES_ONLY, "cosmos-embed1", "internvideo2")
# A word in the name of a checkpoint's own code -> its kind, where its config.json names another.
CODE_NAMES = {"modeling_embed1": "cosmos-embed1", "InternVideo2": "internvideo2"}
FIXED_FRAMES = ("xclip", "cosmos-embed1", "internvideo2")  # take only the number of frames of their training
# Frames per clip where the configuration names no number.
VIDEO_FRAMES = {"xclip": 8, "videoprism": 16, "cosmos-embed1": 8, "internvideo2": 4}
PICTURE_FRAMES = 8  # frames per clip of a model of single pictures


class LoadSettings(Protocol):
    """The settings of [embed] that decide how a model is loaded."""

    @property
    def num_frames(self) -> int | None:
        """Frames per clip; None: the model's own number."""

    @property
    def dtype(self) -> Dtype:
        """Precision of the weights; auto: float32 on a CPU, bfloat16 on a GPU."""


@dataclass(frozen=True)
class Wants:
    """A model's kind, and the frames that it wants to see of a clip."""

    kind: str  # the model_type of its config.json
    num_frames: int
    fit: Fit
    text: bool  # whether the model reads text, too


@dataclass(frozen=True)
class Model:
    """A loaded model: the frames that it wants, and its functions from clips and from texts to vectors."""

    fit: Fit
    num_frames: int
    dim: int | None  # None: of a model of the user's own it is that of its vectors
    encode: Callable[[Sequence[Pictures]], Vectors]
    encode_text: Callable[[Sequence[str]], Vectors] | None = None


def wants(folder: str, num_frames: int | None) -> Wants:
    """What the model in a folder wants to see, by its configuration.

    Raises:
        MissingModelError: the folder has no embedding model, or the model takes another number of
            frames.
    """
    if user_code.is_function(folder):
        return Wants("custom", *user_models.frames(folder, num_frames), text=True)
    config = configuration(folder)
    kind = config["model_type"]
    default = _num_frames(kind, config)
    if num_frames not in (None, default) and kind in FIXED_FRAMES:
        raise MissingModelError(f"{folder}: takes {default} frames per clip, not {num_frames}")
    return Wants(kind, num_frames or default, _fit(kind, config), kind not in PICTURES_ONLY)


def configuration(folder: str) -> dict[str, Any]:
    """The config.json of an embedding model, completed by its processor_config.json.

    Raises:
        MissingModelError: the folder has no config.json, a broken one, or one of another kind of
            model.
    """
    config = _read_json(folder, "processor_config.json") | _read_json(folder, "config.json")
    code = config.get("auto_map", {}).get("AutoModel", "")
    kind_of_code = next((kind for word, kind in CODE_NAMES.items() if word in code), None)
    kind = config["model_type"] = kind_of_code or config.get("model_type")
    if kind is None and list(Path(folder).glob("*.pt")):
        raise MissingModelError(
            f"{folder}: weights without code; models.remote_code needs a folder with the model's own code, "
            "laid out as OpenGVLab/InternVideo2-Stage2_6B is"
        )
    if kind not in KINDS:
        what = f"a model of type {kind}" if kind else "no config.json"
        raise MissingModelError(f"{folder}: not an embedding model but {what}; known types are {', '.join(KINDS)}")
    return config


def _read_json(folder: str, name: str) -> dict[str, Any]:
    path = Path(folder) / name
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        values = json.loads(text) if text.strip() else {}
    except ValueError as e:
        raise MissingModelError(f"{path}: not JSON: {e}") from e
    if not isinstance(values, dict):
        raise MissingModelError(f"{path}: not a JSON object")
    return values


def _num_frames(kind: str, config: dict[str, Any]) -> int:
    number = (
        config.get("num_video_frames") or config.get("vision_config", {}).get("num_frames") or config.get("num_frames")
    )
    return int(number or VIDEO_FRAMES.get(kind, PICTURE_FRAMES))


def _fit(kind: str, config: dict[str, Any]) -> Fit:
    """Frames of about the size that the model's own processor makes: small to send, and nothing is lost."""
    vision = config.get("vision_config") or config
    if kind == "siglip2":  # keeps the aspect: as many patches as it has positions
        side = int(vision.get("patch_size", 16))
        return extract.pixel_budget(side * side, side * side * int(vision.get("num_patches", 256)), side)
    resolutions = {"cosmos-embed1": config.get("resolution", 224), "videoprism": vision.get("image_size", 288)}
    size = resolutions.get(kind) or vision.get("image_size") or 224
    height, width = (size, size) if isinstance(size, int) else size
    if kind in ("clip", "xclip", "clip_vision_model", "dinov2"):  # scale the short side, and crop to the center
        return extract.short_side(max(height, width))
    return extract.exact_size(width, height)
