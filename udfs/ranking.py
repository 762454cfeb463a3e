"""A cluster's clips -> their order, from the first to be kept to the last."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from udfs.kmeans import Indexes

RULES = ("hard", "easy", "random")
RANKABLE = ("num_bytes", "width", "height", "framerate", "num_frames", "duration_s")  # columns of clips


def columns(rank: str) -> dict[str, bool]:
    """The columns of clips that a ranking goes by, in order, and whether each rises; none for hard, easy and random.

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


def order(clips: pd.DataFrame, rank: str, seed: int) -> Indexes:
    """The positions of the rows in rank order; equals go by clip_id, so that the rows' own order does not matter.

    hard begins with those farthest from the centre, easy with the nearest, random with the least hash of seed and clip_id.
    An unknown number comes last.
    """
    keys = clips.reset_index(drop=True)
    if rank == "random":
        keys = keys.assign(lot=[_lot(clip_id, seed) for clip_id in keys["clip_id"]])
    rules = {"hard": {"distance_to_centroid": False}, "easy": {"distance_to_centroid": True}, "random": {"lot": True}}
    by = {**(rules.get(rank) or columns(rank)), "clip_id": True}
    return keys.sort_values(list(by), ascending=list(by.values()), na_position="last").index.to_numpy(np.int64)


def _lot(clip_id: str, seed: int) -> str:
    return hashlib.blake2b(f"{seed} {clip_id}".encode(), digest_size=8).hexdigest()
