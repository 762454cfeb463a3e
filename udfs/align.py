"""align: the cosine between each caption of a clip and the clip's vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from schemas.alignments import TABLE
from udfs import embed
from udfs.captioning import prompts
from udfs.core.errors import MediaError
from udfs.models import registry, text_match
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer

COLUMNS = TABLE.stage_columns
Vector = text_match.Vector


def rows(batches: Iterable[pd.DataFrame], params: embed.Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips with their captions and vectors -> batches of alignments, one row per caption."""
    return infer(
        batches,
        prepare=prepare,
        load=partial(text_match.text_encoder, params.model, params, env.models),
        finish=finish,
        key="clip_id",
        columns=COLUMNS,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
    )


def check(params: embed.Params, models: registry.Params) -> None:
    """Find before Spark starts what would stop a worker.

    Raises:
        MissingModelError: the model has no text side, is missing, or may not run.
    """
    text_match.check(params.model, params.num_frames, models)


def prepare(row: Row, call: Call) -> Iterator[str]:
    """The clip's captions, refined ones where there are any.

    Nothing is decoded, so `call` is not used.
    """
    for caption in row["captions"]:
        yield prompts.without_control_tokens(caption["stage2_caption"] or caption["caption"])


def finish(row: Row, answers: list[Vector]) -> list[Row]:
    """One row per caption.

    Raises:
        MediaError: BAD_OUTPUT if a text's vector does not fit the clip's.
    """
    clip = np.array(row["vector"], np.float32)
    return [
        {
            "clip_id": row["clip_id"],
            "start_frame": caption["start_frame"],
            "model": row["model"],
            "alignment": cosine(clip, text),
        }
        for caption, text in zip(row["captions"], answers, strict=True)
    ]


def cosine(clip: Vector, text: Vector) -> float | None:
    """The cosine of two vectors; None if one is zero, as that of a clip of one gray.

    Raises:
        MediaError: BAD_OUTPUT if they differ in length, or the text's is not finite.
    """
    if clip.shape != text.shape or not np.isfinite(text).all():
        raise MediaError(
            "BAD_OUTPUT", f"the text's vector has {text.size} numbers, the clip's {clip.size}, or it is not finite"
        )
    lengths = float(np.linalg.norm(clip) * np.linalg.norm(text))
    return float(clip @ text) / lengths if lengths else None
