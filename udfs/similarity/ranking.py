"""Rank clips: sort keys that decide which of several duplicates is kept."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from udfs.similarity.kmeans import Floats

RULES = ("hard", "easy", "random")
# Columns of the table `clips`, and the aesthetic score.
RANKABLE = ("num_bytes", "width", "height", "framerate", "num_frames", "duration_s", "aesthetic")


def columns(rank: str) -> dict[str, bool]:
    """The columns that a ranking sorts by, in order, and whether each is ascending; none for RULES.

    Raises:
        ValueError: the ranking names no rule and no column that can be ranked by.
    """
    if rank in RULES:
        return {}
    ascending = {}
    for term in rank.split(","):
        name, _, direction = term.strip().partition(" ")
        if name not in RANKABLE or direction.strip() not in ("", "asc", "desc"):
            choices = f"use {', '.join(RULES)}, or one of {', '.join(RANKABLE)}, then asc or desc"
            raise ValueError(f"{term.strip()!r} is not a ranking: {choices}")
        ascending[name] = direction.strip() != "desc"
    return ascending


def keys(clips: pa.RecordBatch, rank: str, seed: int, distance: Floats) -> Floats:
    """Sort keys (rows x columns of the ranking): clips rank by rising keys, then by clip_id.

    `distance` is each clip's cosine distance to its centroid, infinite if it is in no cluster.
    `hard` ranks the farthest first and `easy` the nearest (the terms of SemDeDup, Abbas et al.,
    2023), `random` ranks by a hash of seed and clip_id. A missing number ranks last.
    """
    if rank == "random":
        clip_ids = clips.column("clip_id").to_pylist()
        return np.array([_random_key(clip_id, seed) for clip_id in clip_ids], np.float64).reshape(-1, 1)
    if rank in RULES:
        return np.where(np.isfinite(distance), distance if rank == "easy" else -distance, np.inf)[:, None]
    return np.stack([_column_key(clips.column(name), ascending) for name, ascending in columns(rank).items()], axis=1)


def _column_key(column: pa.Array, ascending: bool) -> Floats:
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(numbers), np.inf, numbers if ascending else -numbers)


def _random_key(clip_id: str, seed: int) -> float:
    """A hash of 53 bits, which a double holds exactly."""
    return float(int.from_bytes(hashlib.blake2b(f"{seed} {clip_id}".encode(), digest_size=8).digest()) >> 11)
