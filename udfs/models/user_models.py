"""Models that a function of the user's own loads, named module:function where settings name a model or an engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.core.user_code import UserCodeError
from udfs.frames import extract
from udfs.frames.extract import Pictures
from udfs.models.registry import MissingModelError

# Constants that the function's module may have: what `embed` is to show the model of a clip.
CONSTANTS = {"NUM_FRAMES": 8, "SHORT_SIDE_PX": 224}


def check(name: str) -> None:
    """Find on the driver, before Spark starts, why a function could not load a model on a worker.

    Raises:
        MissingModelError: it is not there, or does not take a device.
    """
    try:
        user_code.check(name, ("device",))
    except UserCodeError as e:
        raise MissingModelError(str(e)) from e


def identity(name: str) -> str:
    """What a fingerprint holds of the code; of a function that is not there its name, which `check` refuses."""
    try:
        return f"{name}@{user_code.identity(name)}"
    except UserCodeError:
        return name


def places(arguments: Iterable[object]) -> list[str | None]:
    """Where the code of functions among the arguments of a loader lies: newer code lies elsewhere."""
    return [user_code.place(name) for name in arguments if isinstance(name, str) and user_code.is_function(name)]


def load(name: str, device: str) -> Any:
    """What the function makes of a device."""
    return user_code.function(name)(device)


def frames(name: str, num_frames: int | None) -> tuple[int, extract.Fit]:
    """How many frames of a clip a model sees, and of which size: by NUM_FRAMES and SHORT_SIDE_PX of its module."""
    of_module = vars(sys.modules[user_code.function(name).__module__])
    number, side = (of_module.get(key, value) for key, value in CONSTANTS.items())
    return num_frames or number, extract.short_side(side)


def unit_vectors(encode: Callable[[list[Any]], Any], inputs: Sequence[Any]) -> npt.NDArray[np.float32]:
    """The vectors of clips or texts by a function, of length 1 each; one that is zero stays so.

    Raises:
        MediaError: BAD_OUTPUT if they are not one vector per input.
    """
    found = encode([*inputs])
    vectors = np.asarray(found.tolist() if hasattr(found, "tolist") else found, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(inputs):
        raise MediaError("BAD_OUTPUT", f"vectors of shape {vectors.shape} for {len(inputs)} inputs")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def scores(score: Callable[[list[Any]], Any], pictures: Sequence[Pictures]) -> list[npt.NDArray[np.float32]]:
    """One array with one score per picture or vector."""
    found = score([*pictures])
    return [*np.asarray(found.tolist() if hasattr(found, "tolist") else found, np.float32).reshape(len(pictures), -1)]
