"""embed: sampled frames of clips -> one unit vector a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass as plain
from difflib import get_close_matches
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from schemas.embeddings import TABLE
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures, Times
from udfs.models import checkpoints, copy_descriptor, embedding_models, text_match
from udfs.models.checkpoints import MissingModelError
from udfs.models.embedding_models import DESCRIPTOR, Dtype, Vectors
from udfs.runtime import batching
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.storage import access

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
NUM_FRAMES = 16  # of the descriptor


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[embed]"""

    model: Annotated[
        checkpoints.Name,
        Field(description="descriptor: classical, finds near-copies; one of embedders.NAMES, a folder, or org/name@commit"),
    ] = DESCRIPTOR
    num_frames: Annotated[
        int | None, Field(ge=1, le=256, description="a clip, evenly over all of it; by default what the model was made for")
    ] = None
    dtype: Annotated[Dtype, Field(description="of the weights; auto: float32 on a CPU, bfloat16 on a GPU")] = "auto"
    texts_to_verify: Annotated[
        tuple[str, ...], Field(description="how much each of these says of a clip is scored, the scores adding up to 1")
    ] = ()
    batch_size: Annotated[int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="clips that a model sees at once")] = 16
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        known = (DESCRIPTOR, *embedding_models.NAMES)
        if model in known or "/" in model or "@" in model:
            return model
        close = get_close_matches(model, known, n=1, cutoff=0.4)
        raise ValueError(f"no embedder; did you mean {close[0]}?" if close else f"no embedder; known are {', '.join(known)}")

    @field_validator("texts_to_verify")
    @classmethod
    def _distinct(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len({text.strip() for text in given} - {""}) < len(given):
            raise ValueError("an empty text, or one twice")
        return given


@plain(frozen=True)
class Answer:
    """What a model says of one clip."""

    vector: npt.NDArray[np.float32]
    dim: int  # of the model
    num_frames: int  # distinct ones that it saw
    read: Vectors | None  # the texts to verify


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips to batches of embeddings, one row a clip."""
    if params.model == DESCRIPTOR:
        work = partial(described, params=params, env=env)
        return batching.each(batches, work, key="clip_id", columns=COLUMNS, limits=env.limits)
    folder = checkpoints.allowed(params.model, env.models)
    wants = embedding_models.wants(folder, params.num_frames)
    return infer(
        batches,
        prepare=partial(prepare, num_frames=wants.num_frames, fit=wants.fit, env=env),
        load=partial(load, folder, params),
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
        MissingModelError: the model is not there, may not run, takes another number of frames, or cannot read texts.
    """
    reads = params.model != DESCRIPTOR
    if reads:
        checkpoints.check(params.model, models)
        if checkpoints.is_local(params.model) or checkpoints.present(checkpoints.checkpoint(params.model), models):
            reads = embedding_models.wants(checkpoints.folder(params.model, models), params.num_frames).text
    if params.texts_to_verify and not reads:
        raise MissingModelError(text_match.cannot_read(params.model))


def described(row: Row, params: Params, env: Env) -> list[Row]:
    """The classical embedding of one clip, from its proxy if the row names one.

    Raises:
        MediaError: the file is not there, damaged or incomplete.
    """
    times, pictures = look(_uri(row), params.num_frames or NUM_FRAMES, extract.exact_size(*copy_descriptor.SIZE), env)
    return [embedding(row, DESCRIPTOR, copy_descriptor.describe(pictures), len(np.unique(times)))]


def prepare(row: Row, call: Call, num_frames: int, fit: Fit, env: Env) -> Iterator[tuple[int, Pictures]]:
    """One clip's pictures, and how many of them differ in time, from its proxy if the row names one."""
    times, pictures = call(look, _uri(row), num_frames, fit, env)
    yield len(np.unique(times)), pictures


def look(uri: str, num_frames: int, fit: Fit, env: Env) -> tuple[Times, Pictures]:
    """A clip's pictures, spread over all of it; `call` runs it in the sandbox."""
    return extract.evenly_spaced_frames(access.own_path(uri, env.sources), num_frames, fit, env.limits)


def load(folder: str, params: Params, device: str) -> Callable[[Sequence[tuple[int, Pictures]]], list[Answer]]:
    """What answers for a batch of clips; the texts to verify are read here, once for all clips."""
    model = embedding_models.load(folder, params, device)
    read = model.encode_text(params.texts_to_verify) if params.texts_to_verify and model.encode_text else None

    def answers(items: Sequence[tuple[int, Pictures]]) -> list[Answer]:
        vectors = model.encode([pictures for _, pictures in items])
        return [Answer(vector, model.dim, seen, read) for (seen, _), vector in zip(items, vectors, strict=True)]

    return answers


def finish(row: Row, answers: Sequence[Answer], params: Params) -> list[Row]:
    """One clip's row.

    Raises:
        MediaError: BAD_OUTPUT.
    """
    (answer,) = answers
    if answer.vector.shape != (answer.dim,):
        raise MediaError("BAD_OUTPUT", f"a vector of {answer.vector.shape}, not of {answer.dim}")
    if not np.isfinite(answer.vector).all() or not answer.vector.any():
        raise MediaError("BAD_OUTPUT", "a vector of zeros, or with a number that is none")
    row = embedding(row, params.model, answer.vector, answer.num_frames)
    if answer.read is not None:
        scores = text_match.matches(answer.vector, answer.read)
        row["text_scores"] = dict(zip(params.texts_to_verify, map(float, scores), strict=True))
        row["text_match"] = params.texts_to_verify[int(scores.argmax())]
    return [row]


def embedding(row: Row, model: str, vector: npt.NDArray[np.float32], num_frames: int) -> Row:
    """The row of a clip whose vector is known."""
    return {
        "clip_id": row["clip_id"],
        "model": model,
        "dim": len(vector),
        "num_frames": num_frames,
        "vector": vector.tolist(),
        "text_scores": None,
        "text_match": None,
    }


def _uri(row: Row) -> str:
    return str(row.get("proxy_uri") or row["uri"])
