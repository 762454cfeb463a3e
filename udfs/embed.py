"""embed: one unit vector per clip, from frames sampled evenly over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass as plain
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AfterValidator, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from schemas.embeddings import TABLE
from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract
from udfs.frames.extract import Fit, Pictures, Times
from udfs.models import copy_descriptor, embedding_config, embedding_models, hub, registry, text_match, user_models
from udfs.models.embedding_config import DESCRIPTOR, Dtype, Vectors
from udfs.runtime import batching, sandbox
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.runtime.sandbox import Needs
from udfs.storage import access
from udfs.video import nvdec
from udfs.video.nvdec import Hwaccel, Place

COLUMNS = TABLE.stage_columns
NUM_FRAMES = 16  # of the descriptor


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[embed]"""

    NOT_HASHED_AT_DEFAULT: ClassVar[tuple[str, ...]] = ("hwaccel",)  # it came later: so older rows stay valid

    model: Annotated[
        str,
        AfterValidator(partial(registry.model_name, known=(DESCRIPTOR, *embedding_config.NAMES))),
        Field(
            description="descriptor: classical, finds near-copies; "
            "a known embedding model, a folder, org/name@commit, or module:function of your own"
        ),
    ] = DESCRIPTOR
    num_frames: Annotated[
        int | None,
        Field(ge=1, le=256, description="frames per clip, spread evenly over it; by default the model's own number"),
    ] = None
    dtype: Annotated[
        Dtype, Field(description="precision of the weights; auto: float32 on a CPU, bfloat16 on a GPU")
    ] = "auto"
    texts_to_verify: Annotated[
        tuple[str, ...], Field(description="texts to score against each clip; the scores of a clip add up to 1")
    ] = ()
    batch_size: Annotated[
        int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="clips per batch of the model")
    ] = 16
    hwaccel: Annotated[Hwaccel, Field(description="cuda: NVDEC decodes what it can; tasks need resources.gpus")] = (
        "none"
    )
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()

    def __post_init__(self) -> None:
        nvdec.check_gpus(self.hwaccel, self.resources)

    @field_validator("texts_to_verify")
    @classmethod
    def _check_texts(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if len({text.strip() for text in texts} - {""}) < len(texts):
            raise ValueError("a text is empty or occurs twice")
        return texts


@plain(frozen=True)
class Answer:
    """A model's output for one clip."""

    vector: npt.NDArray[np.float32]
    dim: int | None  # of the model; None: any
    num_frames: int  # distinct frames that the model saw
    text_vectors: Vectors | None  # of the texts to verify


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips -> batches of embeddings, one row per clip."""
    if params.model == DESCRIPTOR:
        return _described(batches, params, env)
    folder = hub.allowed(params.model, env.models)
    wants = embedding_config.wants(folder, params.num_frames)
    return infer(
        batches,
        prepare=partial(prepare, num_frames=wants.num_frames, fit=wants.fit, env=env, hwaccel=params.hwaccel),
        load=partial(load, folder, params),
        finish=partial(finish, params=params),
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
        on_gpu=params.hwaccel == "cuda",
    )


def _described(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    work, on_gpu = partial(describe, params=params, env=env), params.hwaccel == "cuda"
    limits = env.limits.with_cuda() if on_gpu else env.limits
    yield from batching.each(batches, work, key="clip_id", columns=COLUMNS, limits=limits, needs=Needs(gpu=on_gpu))
    if on_gpu:
        sandbox.stop()  # frees the GPU memory that the models of the next stage may need


def check(params: Params, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker.

    Raises:
        MissingModelError: the model is missing, may not run, takes another number of frames, or
            has no text side for the texts to verify.
    """
    if params.texts_to_verify:
        text_match.check(params.model, params.num_frames, models)
    elif params.model != DESCRIPTOR:
        embedding_models.check(params.model, params.num_frames, models)


def describe(row: Row, params: Params, env: Env) -> list[Row]:
    """The row of one clip by the classical descriptor, from its proxy if the row has one.

    Raises:
        MediaError: the file is missing, damaged or incomplete.
    """
    num_frames, fit = params.num_frames or NUM_FRAMES, extract.exact_size(*copy_descriptor.SIZE)
    times, pictures = decode(_uri(row), num_frames, fit, env, params.hwaccel)
    return [embedding(row, DESCRIPTOR, copy_descriptor.describe(pictures), len(np.unique(times)))]


def prepare(
    row: Row, call: Call, num_frames: int, fit: Fit, env: Env, hwaccel: Hwaccel = "none"
) -> Iterator[tuple[int, Pictures]]:
    """One clip's frames and the number of distinct ones, from its proxy if the row has one."""
    times, pictures = call(decode, _uri(row), num_frames, fit, env, hwaccel)
    yield len(np.unique(times)), pictures


def decode(uri: str, num_frames: int, fit: Fit, env: Env, hwaccel: Hwaccel = "none") -> tuple[Times, Pictures]:
    """A clip's frames, spread evenly over it; `call` runs this in the sandbox."""
    path, place = access.own_path(uri, env.sources), Place(hwaccel, env.task)
    return place.decode(lambda accel: extract.evenly_spaced_frames(path, num_frames, fit, env.limits, accel))


def load(folder: str, params: Params, device: str) -> Callable[[Sequence[tuple[int, Pictures]]], list[Answer]]:
    """The function that answers a batch of clips; the texts to verify are encoded here, once for all clips."""
    model = embedding_models.load(folder, params, device)
    texts = params.texts_to_verify
    text_vectors = model.encode_text(texts) if texts and model.encode_text else None

    def answers(items: Sequence[tuple[int, Pictures]]) -> list[Answer]:
        vectors = model.encode([pictures for _, pictures in items])
        pairs = zip(items, vectors, strict=True)
        return [Answer(vector, model.dim, num_frames, text_vectors) for (num_frames, _), vector in pairs]

    return user_models.one_by_one(answers) if user_code.is_function(folder) else answers


def finish(row: Row, answers: Sequence[Answer], params: Params) -> list[Row]:
    """The row of one clip.

    Raises:
        MediaError: BAD_OUTPUT if the vector has another length than the model's, is zero or not
            finite.
    """
    (answer,) = answers
    if answer.vector.shape != (answer.dim or len(answer.vector),):
        raise MediaError("BAD_OUTPUT", f"a vector of shape {answer.vector.shape}, not ({answer.dim},)")
    if not np.isfinite(answer.vector).all() or not answer.vector.any():
        raise MediaError("BAD_OUTPUT", "the vector is zero or not finite")
    row = embedding(row, params.model, answer.vector, answer.num_frames)
    if answer.text_vectors is not None:
        scores = text_match.match_scores(answer.vector, answer.text_vectors)
        row["text_scores"] = dict(zip(params.texts_to_verify, map(float, scores), strict=True))
        row["text_match"] = params.texts_to_verify[int(scores.argmax())]
    return [row]


def embedding(row: Row, model: str, vector: npt.NDArray[np.float32], num_frames: int) -> Row:
    """The row of a clip and its vector, without text scores."""
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
