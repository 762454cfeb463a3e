"""texts: sentences -> an embedder's vectors of them, and how much each says of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from udfs.models import checkpoints, embedding_models
from udfs.models.checkpoints import MissingModelError
from udfs.models.embedding_models import DESCRIPTOR, NAMES, Vectors, Wish

SHARPNESS = 100  # of the softmax over texts: what CLIP's own scale ends at
Vector = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def matches(vector: Vector, texts: Vectors) -> Floats:
    """How much each of the texts says of a clip: softmax(SHARPNESS v.t), so that the scores add up to 1."""
    logits: Floats = SHARPNESS * (texts.astype(np.float64) @ vector.astype(np.float64))
    weights = np.exp(logits - logits.max())
    shares: Floats = weights / weights.sum()
    return shares


def reader(name: str, wish: Wish, models: checkpoints.Params, device: str) -> Callable[[Sequence[str]], Vectors]:
    """The text side of the named model, in the space of its vectors of clips.

    Raises:
        MissingModelError: the model is not there, may not run, or cannot read.
    """
    if name == DESCRIPTOR:
        raise MissingModelError(cannot_read(name))
    model = embedding_models.load(checkpoints.allowed(name, models), wish, device)
    if model.encode_text is None:
        raise MissingModelError(cannot_read(name))
    return model.encode_text


def read(text: str, name: str, wish: Wish, models: checkpoints.Params, device: str) -> Vector:
    """The vector of one text.

    Raises:
        MissingModelError: as `reader`.
    """
    vector: Vector = reader(name, wish, models, device)([text])[0]
    return vector


def cannot_read(name: str) -> str:
    """The line that refuses texts to a model that knows pictures only."""
    return f"{name} cannot read texts; these can: {', '.join(NAMES)}"
