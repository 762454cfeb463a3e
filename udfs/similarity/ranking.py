"""ranking: clips -> numbers by which they are kept, from the first to the last."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from udfs.similarity.kmeans import Floats

RULES = ("hard", "easy", "random")
RANKABLE = ("num_bytes", "width", "height", "framerate", "num_frames", "duration_s", "aesthetic")  # of clips, and their score


def columns(rank: str) -> dict[str, bool]:
    """The columns that a ranking goes by, in order, and whether each rises; none for hard, easy and random.

    Raises:
        ValueError: no such rule or column.
    """
    if rank in RULES:
        return {}
    found = {}
    for term in rank.split(","):
        name, _, direction = term.strip().partition(" ")
        if name not in RANKABLE or direction.strip() not in ("", "asc", "desc"):
            known = ", ".join(RULES)
            raise ValueError(f"{term.strip()!r} is no ranking: use {known}, or one of {', '.join(RANKABLE)}, then asc or desc")
        found[name] = direction.strip() != "desc"
    return found


def keys(clips: pa.RecordBatch, rank: str, seed: int, distance: Floats) -> Floats:
    """Numbers by which the rows are kept, least first, a row of them a clip; those that tie go by clip_id.

    hard begins with those farthest from their centre, easy with the nearest, random with the least hash of seed and clip_id.
    An unknown number comes last.
    """
    if rank == "random":
        return np.array([[_lot(clip_id, seed)] for clip_id in clips.column("clip_id").to_pylist()]).reshape(-1, 1)
    if rank in RULES:
        return np.where(np.isfinite(distance), distance if rank == "easy" else -distance, np.inf)[:, None]
    found = [_rising(clips.column(name), rises) for name, rises in columns(rank).items()]
    return np.stack(found, axis=1)


def _rising(column: pa.Array, rises: bool) -> Floats:
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(numbers), np.inf, numbers if rises else -numbers)


def _lot(clip_id: str, seed: int) -> float:
    """53 bits, which a double holds exactly."""
    return float(int.from_bytes(hashlib.blake2b(f"{seed} {clip_id}".encode(), digest_size=8).digest()) >> 11)
