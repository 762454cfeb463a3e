"""align: a clip's captions and its vector -> the cosine of each; the clip is not decoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from schemas.alignments import TABLE
from udfs import embed
from udfs.captioning import prompts
from udfs.core.errors import MediaError
from udfs.models import checkpoints, embedding_models, text_match
from udfs.models.checkpoints import MissingModelError
from udfs.runtime.batching import Env, Row
from udfs.runtime.inference import Call, infer

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]
Vector = text_match.Vector


def rows(batches: Iterable[pd.DataFrame], params: embed.Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips with their captions and vectors to batches of alignments, one row a caption."""
    return infer(
        batches,
        prepare=prepare,
        load=partial(text_match.reader, params.model, params, env.models),
        finish=finish,
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def check(params: embed.Params, models: checkpoints.Params) -> None:
    """Refuse a model without a text side, or one that is not there or may not run, before Spark starts.

    Raises:
        MissingModelError: any of these.
    """
    if params.model == embedding_models.DESCRIPTOR:
        raise MissingModelError(text_match.cannot_read(params.model))
    if not embedding_models.wants(checkpoints.allowed(params.model, models), params.num_frames).text:
        raise MissingModelError(text_match.cannot_read(params.model))


def prepare(row: Row, call: Call) -> Iterator[str]:
    """The captions, the refined ones where there are any. Nothing is decoded, so `call` is not used."""
    for caption in row["captions"]:
        yield prompts.bare(caption["stage2_caption"] or caption["caption"])


def finish(row: Row, answers: list[Vector]) -> list[Row]:
    """One row a caption.

    Raises:
        MediaError: BAD_OUTPUT if a vector is no vector of the clip's kind.
    """
    clip = np.array(row["vector"], np.float32)
    return [
        {
            "clip_id": row["clip_id"],
            "start_frame": caption["start_frame"],
            "model": row["model"],
            "alignment": cosine(clip, said),
        }
        for caption, said in zip(row["captions"], answers, strict=True)
    ]


def cosine(clip: Vector, said: Vector) -> float | None:
    """Of two vectors; None where one is of zeros: a clip that shows nothing.

    Raises:
        MediaError: BAD_OUTPUT if they differ in length or hold a NaN.
    """
    if clip.shape != said.shape or not np.isfinite(said).all():
        raise MediaError("BAD_OUTPUT", f"{said.size} numbers of a text, {clip.size} of its clip, or one that is none")
    lengths = float(np.linalg.norm(clip) * np.linalg.norm(said))
    return float(clip @ said) / lengths if lengths else None
