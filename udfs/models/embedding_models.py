"""embedders: the folder of an embedding model -> what it wants to see of a clip; nothing here imports torch."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures
from udfs.models.checkpoints import MissingModelError

Vectors = npt.NDArray[np.float32]  # clips or texts x dim, each of length 1
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

DESCRIPTOR = "descriptor"  # no model of any folder: udfs/models/copy_descriptor.py
NAMES = (
    *("cosmos-embed1-224p", "cosmos-embed1-336p", "cosmos-embed1-448p", "internvideo2"),
    *("clip", "siglip2", "x-clip"),
)
# model_type of a folder's config.json -> the module here that loads it
LOADERS = {
    **dict.fromkeys(("clip", "siglip", "siglip2", "metaclip_2", "xclip", "videoprism"), "udfs.models.hf_towers"),
    **dict.fromkeys(("dinov2", "clip_vision_model", "siglip_vision_model"), "udfs.models.hf_towers"),  # these know no text
    "cosmos-embed1": "udfs.models.cosmos_embed1",
    "internvideo2": "udfs.models.internvideo2",
}
# What names their own code, where a checkpoint calls itself something else.
CODE = {"modeling_embed1": "cosmos-embed1", "InternVideo2": "internvideo2"}
TEXTLESS = ("dinov2", "clip_vision_model", "siglip_vision_model")
FIXED = ("xclip", "cosmos-embed1", "internvideo2")  # take as many frames as they were made for, and no others
NUM_PICTURES = 8  # frames a clip, where a model knows pictures only


class Wish(Protocol):
    """What of [embed] a model is loaded by."""

    @property
    def num_frames(self) -> int | None:
        """None: as many as the model wants."""

    @property
    def dtype(self) -> Dtype:
        """auto: float32 on a CPU, bfloat16 on a GPU."""


@dataclass(frozen=True)
class Wants:
    """What a model is, and what it is to be shown."""

    kind: str  # its model_type
    num_frames: int
    fit: Fit
    text: bool  # whether it reads text too


@dataclass(frozen=True)
class Model:
    """A loaded model: what it is to be shown, and what it makes of clips and of texts."""

    fit: Fit
    num_frames: int
    dim: int
    encode: Callable[[Sequence[Pictures]], Vectors]
    encode_text: Callable[[Sequence[str]], Vectors] | None = None


def wants(folder: str, num_frames: int | None) -> Wants:
    """What the model in a folder wants to see, by its configuration.

    Raises:
        MissingModelError: no folder of an embedder, or one that takes another number of frames; its text is one line.
    """
    config = configuration(folder)
    kind = config["model_type"]
    own = _num_frames(kind, config)
    if num_frames not in (None, own) and kind in FIXED:
        raise MissingModelError(f"{folder}: takes {own} frames a clip, not {num_frames}")
    return Wants(kind, num_frames or own, _fit(kind, config), kind not in TEXTLESS)


def load(folder: str, wish: Wish, device: str) -> Model:
    """The model in a folder, on a device, by the module that knows its kind; its own code runs if it has any."""
    module = importlib.import_module(LOADERS[configuration(folder)["model_type"]])
    model: Model = module.load(folder, wish, device)
    return model


def configuration(folder: str) -> dict[str, Any]:
    """The config.json of a folder that this program can load, completed by its processor_config.json.

    Raises:
        MissingModelError: it has none, or is no embedder.
    """
    config = _json(folder, "processor_config.json") | _json(folder, "config.json")
    code = config.get("auto_map", {}).get("AutoModel", "")
    owner = next((kind for word, kind in CODE.items() if word in code), None)
    kind = config["model_type"] = owner or config.get("model_type")
    if kind is None and list(Path(folder).glob("*.pt")):
        raise MissingModelError(
            f"{folder}: weights without code; models.remote_code needs a folder with the model's own code, "
            "laid out as OpenGVLab/InternVideo2-Stage2_6B is"
        )
    if kind not in LOADERS:
        raise MissingModelError(
            f"{folder}: no embedder, but {kind or 'a folder without config.json'}; known are {', '.join(LOADERS)}"
        )
    return config


def _json(folder: str, name: str) -> dict[str, Any]:
    path = Path(folder) / name
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    return found


def _num_frames(kind: str, config: dict[str, Any]) -> int:
    own = config.get("num_video_frames") or config.get("vision_config", {}).get("num_frames") or config.get("num_frames")
    return int(own or {"xclip": 8, "videoprism": 16, "cosmos-embed1": 8, "internvideo2": 4}.get(kind, NUM_PICTURES))


def _fit(kind: str, config: dict[str, Any]) -> Fit:
    """Pictures of about the size that the model's own processor makes, so that few pixels are moved and nothing is lost."""
    seen = config.get("vision_config") or config
    if kind == "siglip2":  # keeps the aspect: as many patches as there are places
        side = int(seen.get("patch_size", 16))
        return extract.pixel_budget(side * side, side * side * int(seen.get("num_patches", 256)), side)
    own = {"cosmos-embed1": config.get("resolution", 224), "videoprism": seen.get("image_size", 288)}
    size = own.get(kind) or seen.get("image_size") or 224
    height, width = (size, size) if isinstance(size, int) else size
    if kind in ("clip", "xclip", "clip_vision_model", "dinov2"):  # scale the short side, and cut out the middle
        return extract.short_side(max(height, width))
    return extract.exact_size(width, height)
