"""aesthetic: score the frames of each clip from about 1 to 10; store the lowest and the mean."""

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
from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract
from udfs.frames.extract import Pictures
from udfs.models import checkpoints, hub, registry, user_models
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.storage import access

COLUMNS = TABLE.stage_columns
SHORT_SIDE = 224  # px, the input of CLIP ViT-L/14; the model's own processor crops from there
Dtype = Literal["float32", "bfloat16", "float16"]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[aesthetic]"""

    model: Annotated[
        registry.ModelName,
        Field(
            min_length=1,
            description="the CLIP model for whose vectors the head was trained; or module:function of your own",
        ),
    ] = "clip"
    head: Annotated[
        registry.ModelName,
        Field(min_length=1, description="linear layers from a CLIP vector to a score; or module:function"),
    ] = "aesthetic-mlp"
    target_fps: Annotated[float, Field(gt=0, le=60, description="scored frames per second of video")] = 1.0
    # bfloat16 takes half the time, but published thresholds were set on float32 scores.
    dtype: Annotated[Dtype, Field(description="precision of CLIP's weights; the head always computes in float32")] = (
        "float32"
    )
    batch_size: Annotated[
        int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="frames per batch of the model")
    ] = 64
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips -> batches of aesthetics, one row per clip."""
    folder, *head = (hub.folder(name, env.models) for name in _names(params))
    return infer(
        batches,
        prepare=partial(prepare, params=params, env=env),
        load=partial(load, folder, head[0] if head else None, params.dtype),
        finish=partial(finish, params=params),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def check(params: Params, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker.

    Raises:
        MissingModelError: a model is missing.
    """
    for name in _names(params):
        checkpoints.check(name, models)


def prepare(row: Row, call: Call, params: Params, env: Env) -> Iterator[Pictures]:
    """The frames of a clip one by one, from its proxy if the row has one.

    A batch may hold frames of several clips.
    """
    yield from call(decode, str(row.get("proxy_uri") or row["uri"]), params.target_fps, env)


def decode(uri: str, fps: float, env: Env) -> Pictures:
    """A clip's frames at a rate; `call` runs this in the sandbox."""
    path = access.own_path(uri, env.sources)
    [(_, pictures)] = extract.frame_sequences(path, [fps], extract.short_side(SHORT_SIDE), env.limits)
    return pictures


def _names(params: Params) -> tuple[str, ...]:
    """The models that score: a function of the user's own in place of CLIP needs no head."""
    return (params.model,) if user_code.is_function(params.model) else (params.model, params.head)


def load(
    folder: str, head_folder: str | None, dtype: Dtype, device: str
) -> Callable[[Sequence[Pictures]], list[Scores]]:
    """The function from a batch of frames of any sizes to their scores."""
    if head_folder is None:
        return user_models.one_by_one(partial(user_models.scores, user_models.load(folder, device)))
    from udfs.models import aesthetic_head  # imports torch

    model = aesthetic_head.load(folder, head_folder, dtype, device)
    return user_models.one_by_one(model) if user_code.is_function(head_folder) else model


def finish(row: Row, answers: Sequence[Any], params: Params) -> list[Row]:
    """The row of one clip.

    Raises:
        MediaError: BAD_OUTPUT if the answers are not one finite score per frame.
    """
    shapes = {np.shape(answer) for answer in answers}
    if shapes != {(1,)}:
        raise MediaError("BAD_OUTPUT", f"{len(answers)} answers of shapes {sorted(shapes)}, not one score per frame")
    scores = np.concatenate(answers)
    if not np.isfinite(scores).all():
        raise MediaError("BAD_OUTPUT", f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    return [
        {
            "clip_id": row["clip_id"],
            "model": "+".join(_names(params)),
            "score_min": float(scores.min()),
            "score_mean": float(scores.mean(dtype=np.float64)),
            "frame_scores": scores.tolist(),
        }
    ]
