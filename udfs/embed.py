"""embed: sampled frames of clips -> one unit vector a clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.embeddings import TABLE
from udfs import batching, descriptor, frames, source
from udfs.batching import Env, Row
from udfs.frames import Pictures

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
Vectors = npt.NDArray[np.float32]  # clips x dim


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[embed]"""

    model: Annotated[Literal["descriptor"], Field(description="classical and on the CPU: finds near-copies, not meanings")] = (
        "descriptor"
    )
    num_frames: Annotated[int, Field(ge=1, le=256, description="sampled evenly over the whole clip")] = 16


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded model: the size of its pictures (width, height), and what it makes of a list of clips."""

    size: tuple[int, int]
    encode: Callable[[Sequence[Pictures]], Vectors]


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips to batches of embeddings, one row a clip."""
    work = partial(vector, params=params, env=env)
    return batching.each(batches, work, key="clip_id", columns=COLUMNS, limits=env.limits)


def vector(row: Row, params: Params, env: Env) -> list[Row]:
    """The embedding of one clip, from its proxy if the row names one.

    Raises:
        MediaError: the file is not there, damaged or incomplete.
    """
    model = load(params, "cpu")
    path = source.checked_path(row.get("proxy_uri") or row["uri"], source.Params())
    times, pictures = frames.even(path, params.num_frames, model.size, env.limits)
    found = embed(model, [pictures])[0]
    return [
        {
            "clip_id": row["clip_id"],
            "model": params.model,
            "dim": len(found),
            "num_frames": len(np.unique(times)),
            "vector": found.tolist(),
        }
    ]


@lru_cache(maxsize=1)
def load(params: Params, device: str) -> Model:
    """The model of the settings, once a process; the descriptor has no weights and knows no device."""
    return Model(descriptor.SIZE, lambda clips: np.stack([descriptor.describe(pictures) for pictures in clips]))


def embed(model: Model, clips: Sequence[Pictures]) -> Vectors:
    """One vector of length 1 a clip, or of zeros for a clip that shows nothing."""
    return model.encode(clips)
