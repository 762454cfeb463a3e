"""The kept clips whose vectors are nearest to that of a text or a clip, found without Spark."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.lake.catalog import literal
from jobs.lake.stored_models import stored_models
from udfs.core.gpu_device import NO_GPU, Task, device, visible_gpus
from udfs.models import text_match
from udfs.models.registry import MissingModelError
from udfs.similarity import topk

if TYPE_CHECKING:
    import duckdb

Vector = npt.NDArray[np.float32]
Rows = Callable[[str], Iterable[dict[str, Any]]]  # Spark's SQL over tables and views -> rows of plain values
Relate = Callable[[str], "duckdb.DuckDBPyRelation"]  # the same -> a relation of DuckDB
NO_VECTORS = "no embeddings by the last run's settings here"
VECTORS = """
SELECT embeddings.clip_id, embeddings.vector
FROM current_embeddings AS embeddings JOIN verdicts ON verdicts.clip_id = embeddings.clip_id
WHERE verdicts.kept AND embeddings.model = {model} AND embeddings.clip_id <> {clip}
"""
ROWS = 16384  # per batch of vectors, which takes 50 MB where they have 768 numbers


def hits(
    rows: Rows, relate: Relate, output: str, settings: Settings, *, text: str | None, clip: str | None, top: int
) -> list[tuple[float, str]]:
    """Cosine and id of the nearest clips, the nearest first, to a text or, without one, to a clip.

    Raises:
        UsageError: the model is missing or has no text side, there is no such clip, or no other is kept.
    """
    if text is not None:
        check_text(text, output, settings)
    model, dim, vector = _vector_there(rows, output, clip)
    wanted = vector if text is None else text_vector(text, model, dim, settings)
    query = VECTORS.format(model=literal(model), clip=literal(clip or ""))
    found = _nearest(iter(relate(query).to_arrow_reader(ROWS)), wanted, top)
    if not found:
        raise UsageError(f"{output}: no clip is kept that it could be compared with")
    return found


def check_text(text: str, output: str, settings: Settings) -> None:
    """Refuse a text that is empty, and one that no model of the vectors can encode here.

    Raises:
        UsageError: it says why.
    """
    if not text.strip():
        raise UsageError("--text: the text is empty")
    if settings.models.device == "cuda" and not visible_gpus():
        raise UsageError(f"models.device = cuda, but {NO_GPU}: set it to auto or cpu")
    check_text_side(f"{output}/tables/embeddings", settings)


def check_text_side(table: str, settings: Settings) -> None:
    """Refuse a text if no model of any vector in the table's files can encode it; which vectors count is seen later.

    Raises:
        UsageError: it says why of each model.
    """
    refusals = dict[str, str]()
    for model in stored_models(table, settings.sources):
        try:
            text_match.check(model, None, settings.models)
        except MissingModelError as e:
            refusals[model] = str(e)
        else:
            return
    if refusals:
        reasons = "; ".join(f"the vectors here are of {model}: {reason}" for model, reason in refusals.items())
        raise UsageError(f"--text: {reasons}")


def text_vector(text: str, model: str, dim: int, settings: Settings) -> Vector:
    """A model's vector of a text, for clips' vectors of `dim` numbers.

    Raises:
        UsageError: the model is missing, has no text side, or makes vectors of another length.
    """
    try:
        on_device = device(Task(), 0, settings.models.device)
        load_settings = replace(settings.embed, num_frames=None)
        vector = text_match.text_vector(text, model, load_settings, settings.models, on_device)
    except MissingModelError as e:
        raise UsageError(f"--text: the vectors here are of {model}: {e}") from e
    if len(vector) != dim:
        raise UsageError(f"--text: {model} makes vectors of {len(vector)}, those here have {dim}")
    return vector


def _vector_there(rows: Rows, output: str, clip: str | None) -> tuple[str, int, Vector]:
    """The model, length and values of a clip's vector, or of any if no clip is named."""
    where = "true" if clip is None else f"clip_id = {literal(clip)}"
    row = next(iter(rows(f"SELECT model, vector FROM current_embeddings WHERE {where} LIMIT 1")), None)
    if row is None:
        raise UsageError(f"{output}: {NO_VECTORS}" if clip is None else f"clip {clip}: has no vector here")
    vector = np.array(row["vector"], np.float32)
    if clip is not None and not vector.any():
        raise UsageError(f"clip {clip}: its vector is zero: the clip shows one gray, which nothing resembles")
    return row["model"], len(vector), vector


def _nearest(batches: Iterator[pa.RecordBatch], wanted: Vector, top: int) -> list[tuple[float, str]]:
    rows = (row for batch in topk.nearest(batches, wanted, top) for row in batch.to_pylist())
    best = heapq.nsmallest(top, rows, key=lambda row: (-row["similarity"], row["clip_id"]))
    return [(row["similarity"], row["clip_id"]) for row in best]
