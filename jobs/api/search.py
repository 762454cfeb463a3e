"""The clips nearest to a text or a clip, found without a JVM as the job `search` finds them by Spark."""

from __future__ import annotations

import numpy as np

from jobs import search
from jobs.api.output import Output
from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.search import NO_VECTORS, Options, Vector
from udfs.similarity import topk

VECTORS = """
SELECT embeddings.clip_id, embeddings.vector
FROM current_embeddings AS embeddings JOIN verdicts ON verdicts.clip_id = embeddings.clip_id
WHERE verdicts.kept AND embeddings.model = {model} AND embeddings.clip_id <> {clip}
"""
HITS = """
SELECT hits.similarity, verdicts.clip_id, verdicts.video_uri, verdicts.start_s, verdicts.end_s, verdicts.caption,
       clip_origins.preview
FROM (VALUES {hits}) AS hits (clip_id, similarity)
JOIN verdicts ON verdicts.clip_id = hits.clip_id
JOIN clip_origins ON clip_origins.clip_id = hits.clip_id
ORDER BY hits.similarity DESC, verdicts.clip_id
"""
ROWS = 2048  # per batch of vectors


def query(output: Output, text: str | None, clip: str | None, top: int) -> str:
    """The query that gives the nearest clips, the nearest first.

    Raises:
        UsageError: as the job, and if no other clip is kept.
    """
    if top < 1:
        raise UsageError(f"search: top is {top}, and must be 1 or more")
    settings = output.settings
    search.check(Options(output=output.path, text=text, clip=clip, top=top), settings)
    model, dim, vector = _vector_there(output, clip)
    wanted = search.text_vector(str(text), model, dim, settings) if clip is None else vector
    hits = _nearest(output, VECTORS.format(model=literal(model), clip=literal(clip or "")), wanted, top)
    if not hits:
        raise UsageError(f"{output.path}: no clip is kept that it could be compared with")
    return HITS.format(hits=", ".join(f"({literal(clip_id)}, CAST({cosine!r} AS DOUBLE))" for cosine, clip_id in hits))


def _vector_there(output: Output, clip: str | None) -> tuple[str, int, Vector]:
    """The model, length and values of a clip's vector, or of any if no clip is named."""
    where = "true" if clip is None else f"clip_id = {literal(clip)}"
    row = next(output.rows(f"SELECT model, vector FROM current_embeddings WHERE {where} LIMIT 1"), None)
    if row is None:
        raise UsageError(f"{output.path}: {NO_VECTORS}" if clip is None else f"clip {clip}: has no vector here")
    vector = np.array(row["vector"], np.float32)
    if clip is not None and not vector.any():
        raise UsageError(f"clip {clip}: its vector is zero: the clip shows one gray, which nothing resembles")
    return row["model"], len(vector), vector


def _nearest(output: Output, vectors: str, wanted: Vector, top: int) -> list[tuple[float, str]]:
    batches = output.duckdb(output.parse(vectors)).to_arrow_reader(ROWS)
    found = [row for batch in topk.nearest(iter(batches), wanted, top) for row in batch.to_pylist()]
    ordered = sorted(found, key=lambda row: (-row["similarity"], row["clip_id"]))
    return [(row["similarity"], row["clip_id"]) for row in ordered[:top]]
