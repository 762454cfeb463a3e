"""aesthetic: frames of clips -> how pleasing each one looks, from about 1 to 10, and the lowest and the mean of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.aesthetics import TABLE
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract
from udfs.frames.extract import Pictures
from udfs.models import checkpoints
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.storage import access

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
SHORT_SIDE = 224  # px, what CLIP ViT-L/14 sees; the model's own processor crops from there
Dtype = Literal["float32", "bfloat16", "float16"]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[aesthetic]"""

    model: Annotated[checkpoints.Name, Field(min_length=1, description="a CLIP whose vectors the head was made for")] = "clip"
    head: Annotated[checkpoints.Name, Field(min_length=1, description="layers from such a vector to a score")] = "aesthetic-mlp"
    target_fps: Annotated[float, Field(gt=0, le=60, description="frames scored a second")] = 1.0
    # Half of the time in bfloat16, but its scores are not those that published thresholds were set by.
    dtype: Annotated[Dtype, Field(description="of CLIP's weights; the head always counts in float32")] = "float32"
    batch_size: Annotated[int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="frames that CLIP sees at once")] = 64
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips to batches of aesthetics, one row a clip."""
    folder, head = (checkpoints.folder(name, env.models) for name in (params.model, params.head))
    return infer(
        batches,
        prepare=partial(prepare, params=params, env=env),
        load=partial(load, folder, head, params.dtype),
        finish=partial(finish, params=params),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def check(params: Params, models: checkpoints.Params) -> None:
    """What would stop a worker, found before Spark starts.

    Raises:
        MissingModelError: a model is not there.
    """
    checkpoints.check(params.model, models)
    checkpoints.check(params.head, models)


def prepare(row: Row, call: Call, params: Params, env: Env) -> Iterator[Pictures]:
    """A clip's pictures one by one, from its proxy if the row names one, so that batches may cross the borders of clips."""
    yield from call(look, str(row.get("proxy_uri") or row["uri"]), params.target_fps, env)


def look(uri: str, fps: float, env: Env) -> Pictures:
    """A clip's pictures at a rate; `call` runs it in the sandbox."""
    path = access.own_path(uri, env.sources)
    [(_, pictures)] = extract.frame_sequences(path, [fps], extract.short_side(SHORT_SIDE), env.limits)
    return pictures


def load(folder: str, head_folder: str, dtype: Dtype, device: str) -> Callable[[Sequence[Pictures]], list[Scores]]:
    """What scores a batch of pictures of any sizes."""
    from udfs.models import aesthetic_head  # imports torch

    return aesthetic_head.load(folder, head_folder, dtype, device)


def finish(row: Row, answers: Sequence[Any], params: Params) -> list[Row]:
    """One clip's row.

    Raises:
        MediaError: BAD_OUTPUT if there is no score, more than one a frame, or one that is no number.
    """
    shapes = {np.shape(answer) for answer in answers}
    if shapes != {(1,)}:
        raise MediaError("BAD_OUTPUT", f"{len(answers)} answers of shapes {sorted(shapes)}, not one score a frame")
    scores = np.concatenate(answers)
    if not np.isfinite(scores).all():
        raise MediaError("BAD_OUTPUT", f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are no numbers")
    return [
        {
            "clip_id": row["clip_id"],
            "model": f"{params.model}+{params.head}",
            "score_min": float(scores.min()),
            "score_mean": float(scores.mean(dtype=np.float64)),
            "frame_scores": scores.tolist(),
        }
    ]
