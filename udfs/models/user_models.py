"""Models that a function of the user's own loads, named module:function where settings name a model or an engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from udfs.core import bugs, gpu_device, user_code
from udfs.core.errors import MediaError, RunError
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
    """How many frames of a clip a model sees, and of which size: by NUM_FRAMES and SHORT_SIDE_PX of its module.

    Raises:
        UserCodeError: one of these is no whole number above 0.
    """
    modules = (getattr(user_code.function(name), "__module__", None), name.partition(":")[0])
    values = {**CONSTANTS}
    for module in (sys.modules[each] for each in modules if each in sys.modules):
        values |= {key: vars(module)[key] for key in CONSTANTS if key in vars(module)}
    for key, value in values.items():
        if type(value) is not int or value < 1:
            raise UserCodeError(f"{name}: {key} of its module is {value!r}, and no whole number above 0")
    number, side = values.values()
    return num_frames or number, extract.short_side(side)


def one_by_one(model: Callable[[list[Any]], Iterable[Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    """A model that is asked about its inputs one by one where it raises for a batch of them.

    The exception of a single input is the answer to it. Errors of the run are raised, and those of a
    GPU, which `infer` knows how to treat.
    """

    def answers(inputs: Sequence[Any]) -> list[Any]:
        try:
            return [*model([*inputs])]
        except (RunError, MemoryError):
            raise
        except (Exception, SystemExit) as e:  # the border to the user's own code
            if isinstance(e, RuntimeError) and (gpu_device.is_out_of_memory(e) or gpu_device.has_failed(e)):
                raise
            if len(inputs) > 1:
                return [answer for one in inputs for answer in answers([one])]
            return [bugs.of_exit(e) if isinstance(e, SystemExit) else e]

    return answers


def listed(found: Any, num_inputs: int) -> list[Any]:
    """The answers to a batch of inputs.

    Raises:
        MediaError: BAD_OUTPUT if it is no list of answers, or there are more or fewer.
    """
    if isinstance(found, str | bytes | Mapping) or hasattr(found, "columns") or not isinstance(found, Iterable):
        raise MediaError("BAD_OUTPUT", f"{type(found).__name__} in place of a list of answers to {num_inputs} inputs")
    answers = [*found]
    if len(answers) != num_inputs:
        raise MediaError("BAD_OUTPUT", f"{len(answers)} answers to {num_inputs} inputs")
    return answers


def numbers(found: Any) -> npt.NDArray[np.float32]:
    """Numbers in lists, arrays and tensors of any kind as one array.

    Raises:
        MediaError: BAD_OUTPUT if some are none, or rows differ in length.
    """
    try:
        return np.asarray(_plain(found), np.float32)
    except (TypeError, ValueError) as e:
        raise MediaError("BAD_OUTPUT", f"no array of numbers: {e}") from e


def _plain(found: Any) -> Any:
    """Python's own values: NumPy knows neither bfloat16 nor tensors with a gradient."""
    if hasattr(found, "tolist"):
        return found.tolist()
    return [_plain(each) for each in found] if isinstance(found, list | tuple) else found


def unit_vectors(encode: Callable[[list[Any]], Any], inputs: Sequence[Any]) -> npt.NDArray[np.float32]:
    """The vectors of clips or texts by a function, of length 1 each; one that is zero stays so.

    Raises:
        MediaError: BAD_OUTPUT if they are not one vector per input.
    """
    vectors = numbers(encode([*inputs]))
    if vectors.ndim != 2 or len(vectors) != len(inputs):
        raise MediaError("BAD_OUTPUT", f"vectors of shape {vectors.shape} for {len(inputs)} inputs")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def scores(score: Callable[[list[Any]], Any], pictures: Sequence[Pictures]) -> list[npt.NDArray[np.float32]]:
    """One array with one score per picture or vector.

    Raises:
        MediaError: BAD_OUTPUT if there are more or fewer.
    """
    found = numbers(score([*pictures]))
    if found.size != len(pictures):
        raise MediaError("BAD_OUTPUT", f"scores of shape {found.shape} for {len(pictures)} inputs")
    return [*found.reshape(len(pictures), 1)]
