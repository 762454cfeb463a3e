"""copies: pairs of clips whose hashes agree -> which clip stands for which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import pandas as pd
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from udfs.similarity import ranking


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[copies]"""

    max_distance: Annotated[int, Field(ge=0, le=31, description="of 64 bits that two hashes that agree may differ in")] = 4
    min_agree: Annotated[int, Field(ge=1, description="frames at the same place in both clips that must agree")] = 4
    bands: Annotated[int, Field(ge=2, le=16, description="of a hash; one must be equal: more find more, and cost more")] = 4
    max_bucket: Annotated[int, Field(ge=1, description="clips of one equal band that others are compared with, best first")] = 100
    rank: Annotated[str, Field(description="who is kept, of those new together: columns of clips")] = (
        "height desc, num_bytes desc"
    )

    @field_validator("rank")
    @classmethod
    def _known(cls, rank: str) -> str:
        if not ranking.columns(rank):
            raise ValueError(f"{rank!r} ranks vectors: name columns of clips, such as 'height desc, num_bytes desc'")
        return rank


class Pair(NamedTuple):
    """Two clips that agree, by their places in rank order."""

    young: int
    elder: int
    num_agree: int  # frames
    distance: float  # mean of the agreeing frames, bits


def stand_ins(pairs: Iterable[Pair], dropped: set[int]) -> Iterator[Pair]:
    """Of each clip that is dropped the pair with the kept elder that stands for it; its place goes into `dropped`.

    The pairs come in order of the young clip, of one clip the best first. A clip all of whose elders are dropped is kept: an
    elder is settled before its young, so one look at each pair is enough, and only what is dropped is remembered.
    """
    for pair in pairs:
        if pair.young not in dropped and pair.elder not in dropped:
            dropped.add(pair.young)
            yield pair


def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of all pairs in the order of `stand_ins` to batches of those that drop a clip."""
    dropped = set[int]()
    for batch in batches:
        pairs = (Pair(*row) for row in batch[[*Pair._fields]].itertuples(index=False))
        yield pd.DataFrame(stand_ins(pairs, dropped), columns=[*Pair._fields])
