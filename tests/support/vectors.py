"""Vectors with planted near-copies, and an output with the tables that dedup reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from jobs.config.settings import load
from jobs.lake.fingerprints import fingerprint
from schemas import TABLES
from udfs.similarity.kmeans import Floats, Indexes

SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd: 2**128 by the golden ratio


def vectors_with_copies(
    num_rows: int, dim: int, seed: int = 0, share: float = 0.1, eps: float = 0.02
) -> tuple[Floats, Indexes, Indexes]:
    """Unit vectors around random directions, the rows that are near-copies, and their originals."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(max(2, num_rows // 2000), dim))
    rows = unit(directions[random.integers(0, len(directions), num_rows)] + random.normal(size=(num_rows, dim)))
    order = random.permutation(num_rows)
    count = int(num_rows * share)
    copies, originals = order[:count], order[count : 2 * count]
    rows[copies] = unit(rows[originals] + unit(random.normal(size=(count, dim))) * np.sqrt(eps))
    return rows, copies, originals


def unit(rows: Floats) -> Floats:
    """Rows of length 1."""
    units: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def clip_ids(count: int, first: int = 0) -> list[str]:
    """Ids spread like real ones; sorting is slow where many ids share a prefix."""
    return [str(UUID(int=i * SPREAD % 2**128)) for i in range(first, first + count)]


def write_embeddings(
    output: Path, ids: Sequence[str], vectors: Floats, settings: Sequence[str] = (), **columns: Any
) -> None:
    """Append clips with embeddings to the tables of an output, as if the stages had written them.

    `columns` are columns of `clips`.
    """
    all_settings = load([], list(settings))
    columns_of_all = {
        "clip_id": list(ids),
        "video_id": list(ids),
        "uri": "x",
        "width": 64,
        "height": 64,
        "framerate": 25.0,
    }
    columns_of_all |= {
        "num_bytes": 100,
        "num_frames": 25,
        "duration_s": 1.0,
        "model": all_settings.embed.model,
        "dim": vectors.shape[1],
    }
    columns_of_all |= {"vector": list(vectors.astype(np.float32)), "run_id": "before", **columns}
    for name, stage in (("spans", "split"), ("clips", "clip"), ("signals", "analyze"), ("embeddings", "embed")):
        schema = TABLES[name].schema
        values = columns_of_all | {"fingerprint": fingerprint(stage, all_settings)}
        arrays = [_column(values.get(field.name), field, len(ids)) for field in schema]
        plain = pa.schema([pa.field(field.name, field.type) for field in schema])
        write_deltalake(output / "tables" / name, pa.Table.from_arrays(arrays, schema=plain), mode="append")


def _column(value: Any, field: pa.Field, count: int) -> pa.Array:
    if isinstance(value, list):
        return pa.array(value, field.type)
    return pa.array([value] * count, field.type)
