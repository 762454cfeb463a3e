"""copies: decide which clip is a copy of which, from pairs whose perceptual hashes agree.

In rank order, a clip is a copy of the earlier clip that agrees best with it, of those that are not
copies themselves; a clip that agrees with none of these is kept, and represents its copies. This is
the leader algorithm (Hartigan, Clustering Algorithms, 1975), so that no clip is dropped because of
one that is dropped itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import pandas as pd
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from udfs.similarity import ranking


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[copies]: which clips agree by the perceptual hashes of their frames, and which is kept."""

    max_distance: Annotated[
        int, Field(ge=0, le=31, description="bits of 64 in which the hashes of two frames that agree may differ")
    ] = 4
    min_agree: Annotated[int, Field(ge=1, description="frames at the same place in both clips that must agree")] = 4
    bands: Annotated[
        int,
        Field(
            ge=2,
            le=16,
            description="copies have the bits of two of so many parts of a hash in common; more find and cost more",
        ),
    ] = 4
    max_bucket: Annotated[
        int, Field(ge=1, description="clips with these bits in common that a new one is compared with, the first kept")
    ] = 100
    rank: Annotated[str, Field(description="columns of clips that decide which of several new copies is kept")] = (
        "height desc, num_bytes desc"
    )

    @field_validator("rank")
    @classmethod
    def _check_rank(cls, rank: str) -> str:
        if not ranking.columns(rank):
            raise ValueError(f"{rank!r} ranks vectors: name columns of clips, such as 'height desc, num_bytes desc'")
        return rank


class Pair(NamedTuple):
    """Two clips that agree, as their positions in rank order."""

    later: int
    earlier: int  # buckets.STORED: a clip that an earlier run kept
    num_agree: int  # frames
    distance: float  # bits, mean of the frames that agree
    copy_of: str | None = None  # clip_id of a clip that an earlier run kept


def copy_links(pairs: Iterable[Pair], dropped: set[int]) -> Iterator[Pair]:
    """The pair of each copy with the kept clip that it copies; adds the copy to `dropped`.

    The pairs come sorted by the later clip, and those of one clip best first. Whether the earlier
    clip of a pair is dropped is then known, so that one look at each pair is enough and only
    `dropped` is kept.
    """
    for pair in pairs:
        if pair.later not in dropped and pair.earlier not in dropped:
            dropped.add(pair.later)
            yield pair


def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of the pairs that `copy_links` yields, from batches of all pairs in its order."""
    dropped = set[int]()
    for batch in batches:
        pairs = (Pair(*row) for row in batch[[*Pair._fields]].itertuples(index=False))
        yield pd.DataFrame(copy_links(pairs, dropped), columns=[*Pair._fields])
