"""Vectors of texts by the text side of an embedding model, and how well texts match a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from udfs.models import embedding_models, hub, registry
from udfs.models.embedding_config import DESCRIPTOR, NAMES, LoadSettings, Vectors
from udfs.models.registry import MissingModelError

LOGIT_SCALE = 100  # of the softmax over texts: the value that CLIP's learned scale reaches
Vector = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def match_scores(vector: Vector, texts: Vectors) -> Floats:
    """How well each text matches a clip: softmax(LOGIT_SCALE v.t), so that the scores add up to 1."""
    logits: Floats = LOGIT_SCALE * (texts.astype(np.float64) @ vector.astype(np.float64))
    weights = np.exp(logits - logits.max())
    scores: Floats = weights / weights.sum()
    return scores


def text_encoder(
    name: str, settings: LoadSettings, models: registry.Params, device: str
) -> Callable[[Sequence[str]], Vectors]:
    """The text side of a model, whose vectors are comparable to the model's vectors of clips.

    Raises:
        MissingModelError: the model is missing, may not run, or has no text side.
    """
    if name == DESCRIPTOR:
        raise MissingModelError(no_text_side(name))
    model = embedding_models.load(hub.allowed(name, models), settings, device)
    if model.encode_text is None:
        raise MissingModelError(no_text_side(name))
    return model.encode_text


def text_vector(text: str, name: str, settings: LoadSettings, models: registry.Params, device: str) -> Vector:
    """The vector of one text.

    Raises:
        MissingModelError: as `text_encoder`.
    """
    vector: Vector = text_encoder(name, settings, models, device)([text])[0]
    return vector


def check(name: str, num_frames: int | None, models: registry.Params) -> None:
    """Find on the driver, before Spark starts, why a model could not encode texts on a worker.

    Raises:
        MissingModelError: the model is missing, may not run, takes another number of frames, or has
            no text side. The text side of a model that workers are still to fetch is not known yet.
    """
    if name == DESCRIPTOR:
        raise MissingModelError(no_text_side(name))
    wants = embedding_models.check(name, num_frames, models)
    if wants is not None and not wants.text:
        raise MissingModelError(no_text_side(name))


def no_text_side(name: str) -> str:
    """The line that refuses texts for a model of pictures only."""
    return f"{name} cannot encode texts; these can: {', '.join(NAMES)}"
