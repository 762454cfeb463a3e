"""Threshold levels: link each vector of a cluster to the nearest representative before it.

The vectors are of length 1 and come in ranking order, the first to keep first. The levels are
rising thresholds eps; two vectors are alike at a level if their cosine is at least 1 - eps
(`kmeans.min_cosine`).

Each level is a pass of the leader algorithm (Hartigan, Clustering Algorithms, 1975): in ranking
order, a vector that is alike to an earlier representative of the level is a duplicate at that
level; otherwise it becomes a representative of the level itself. The first pass takes all vectors,
each later pass only the representatives of the level before. So a vector has one `duplicate_level`,
at which it drops out: it is a representative of all tighter levels. The loosest of these is its
`last_level`, duplicate_level - 1.

A duplicate is linked to the nearest earlier representative of its duplicate level. A vector that is
a representative of every level is linked to the nearest earlier vector of that kind. The cosine of
the link is the vector's `similarity`. From this follows:

- One similarity answers for every eps up to the loosest level: a vector is a duplicate at eps if
  its similarity is at least 1 - eps. A larger eps only adds duplicates, and the links of a
  duplicate, followed to their end, lead to a vector that is kept.
- No two representatives of a level are alike at it, and no vector is a duplicate because of one
  that is itself a duplicate at the same or a tighter level. SemDeDup (Abbas et al., 2023) lacks the
  latter property: it compares with all earlier vectors, dropped ones too.
- A duplicate and the vector kept for it are at most one link per level apart, each within that
  level's eps.

The search is exhaustive: each vector is compared with all earlier representatives, in float32, and
only the cosine of the nearest, computed again in float64 from fixed-point components
(`kmeans.SCALE`), meets the thresholds. So the duplicate levels follow from the ranking order,
whatever the sizes of blocks and tiles; of representatives whose cosines agree to float32's
rounding, either may be the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.similarity.kmeans import Floats, Indexes, min_cosine
from udfs.similarity.neighbors import Arithmetic, FlatIndex, Ids, Vectors, cosines

FLOAT32_ERROR = 1e-4  # more than float32 can cost a cosine of up to 1,600 components

Flags = npt.NDArray[np.bool_]
# Per row, 0 for the tightest level; the number of levels for a representative of all of them.
DuplicateLevels = npt.NDArray[np.int8]


class Links(NamedTuple):
    """Per row its duplicate level, the id it is linked to (or None), and their cosine (or NaN)."""

    duplicate_level: DuplicateLevels
    duplicate_of: npt.NDArray[np.object_]
    similarity: Floats


class NearestByLevel(NamedTuple):
    """The nearest representative of each last level: its cosine, -inf if there is none, and its id.

    Both arrays are rows x levels.
    """

    cosine: Floats
    duplicate_of: npt.NDArray[np.object_]

    @classmethod
    def empty(cls, num_rows: int, num_levels: int) -> NearestByLevel:
        """No representatives."""
        return cls(np.full((num_rows, num_levels), -np.inf), np.full((num_rows, num_levels), None, object))


class _Candidates(NamedTuple):
    """As NearestByLevel, with the place of a representative instead of its id.

    `position` is its position in the FlatIndex of that last level, or IN_BLOCK less its row in the
    block, or STORED; -1 if there is none.
    """

    cosine: Floats
    position: Indexes


STORED, IN_BLOCK = -2, -3


class LevelIndex:
    """The representatives so far, in one FlatIndex per last level.

    Those of level l are in the indexes of last level l and looser.
    """

    def __init__(self, levels: Sequence[float], dim: int, arithmetic: Arithmetic) -> None:
        self.min_cosines = np.array([min_cosine(eps) for eps in levels])
        self.indexes = [FlatIndex(dim, arithmetic) for _ in levels]

    def add(self, vectors: Vectors, ids: Ids, duplicate_level: DuplicateLevels) -> None:
        """Add representatives; duplicates at the tightest level are none, and left out."""
        for last_level, index in enumerate(self.indexes):
            rows = duplicate_level == last_level + 1
            index.add(vectors[rows], ids[rows])

    def link(self, block: Vectors, ids: Ids, home: Flags | None = None, stored: NearestByLevel | None = None) -> Links:
        """Link the next rows in ranking order, then add them.

        Rows whose `home` cluster is another one only probe this cluster: they are linked, but not
        added. `stored` holds each row's nearest representatives among vectors that are not in this
        index.
        """
        candidates = self._search(block)
        if stored is not None:
            nearer = stored.cosine > candidates.cosine
            candidates.cosine[nearer], candidates.position[nearer] = stored.cosine[nearer], STORED
        level = duplicate_levels(candidates.cosine, self.min_cosines)
        home_rows = np.arange(len(block)) if home is None else np.flatnonzero(home)
        products = block @ block[home_rows].T
        np.copyto(products, -np.inf, where=home_rows >= np.arange(len(block))[:, None])  # a row's earlier rows only
        self._link_within_block(block, home_rows, products, candidates, level)
        _add_representatives(home_rows, products, candidates, level, len(self.min_cosines))
        links = self._links(block, ids, candidates, level, stored)
        self.add(block[home_rows], ids[home_rows], level[home_rows])
        return links

    def _search(self, block: Vectors) -> _Candidates:
        """The nearest of each index; its cosine is exact if it may reach the loosest level."""
        shape = (len(block), len(self.indexes))
        candidates = _Candidates(np.empty(shape), np.empty(shape, np.int64))
        least = self.min_cosines[-1] - FLOAT32_ERROR
        for i, index in enumerate(self.indexes):
            candidates.cosine[:, i], candidates.position[:, i] = index.nearest(block, least)
            close = np.flatnonzero((candidates.position[:, i] >= 0) & (candidates.cosine[:, i] >= least))
            candidates.cosine[close, i] = cosines(block[close], index.vectors_at(candidates.position[close, i]))
        return candidates

    def _link_within_block(
        self,
        block: Vectors,
        home_rows: Indexes,
        products: Vectors,
        candidates: _Candidates,
        level: DuplicateLevels,
    ) -> None:
        """Compare each row with earlier rows of its block; changes `candidates` and `level`."""
        alike = products >= self.min_cosines[-1] - FLOAT32_ERROR
        rows = np.flatnonzero(alike.any(axis=1))
        columns = np.flatnonzero(alike.any(axis=0))
        exact = block[rows].astype(np.float64) @ block[home_rows[columns]].astype(np.float64).T
        for i, row in enumerate(rows.tolist()):
            earlier = np.flatnonzero(alike[row, columns])
            earlier_level = level[home_rows[columns[earlier]]]
            for last_level in range(len(self.min_cosines)):
                representatives = earlier[earlier_level == last_level + 1]
                if len(representatives):
                    best = representatives[exact[i, representatives].argmax()]
                    if exact[i, best] > candidates.cosine[row, last_level]:
                        candidates.cosine[row, last_level] = exact[i, best]
                        candidates.position[row, last_level] = IN_BLOCK - home_rows[columns[best]]
            level[row] = duplicate_levels(candidates.cosine[row : row + 1], self.min_cosines)[0]

    def _links(
        self, block: Vectors, ids: Ids, candidates: _Candidates, level: DuplicateLevels, stored: NearestByLevel | None
    ) -> Links:
        """The nearest candidate that represents each row's duplicate level; its cosine is exact."""
        num_levels = len(self.min_cosines)
        represents = np.arange(num_levels) >= np.minimum(level, num_levels - 1)[:, None]
        best = np.where(represents, candidates.cosine, -np.inf).argmax(axis=1)
        rows = np.arange(len(block))
        position, similarity = candidates.position[rows, best], candidates.cosine[rows, best]
        duplicate_of = np.full(len(block), None, object)
        for i, index in enumerate(self.indexes):
            some = np.flatnonzero((best == i) & (position >= 0))
            duplicate_of[some] = index.ids_at(position[some])
            similarity[some] = cosines(block[some], index.vectors_at(position[some]))
        some = np.flatnonzero(position <= IN_BLOCK)
        earlier = IN_BLOCK - position[some]
        duplicate_of[some], similarity[some] = ids[earlier].astype(object), cosines(block[some], block[earlier])
        if stored is not None:
            some = np.flatnonzero(position == STORED)
            duplicate_of[some] = stored.duplicate_of[some, best[some]]
        return Links(level, duplicate_of, np.where(np.isinf(similarity), np.nan, similarity))


def duplicate_levels(cosine: Floats, min_cosines: Floats) -> DuplicateLevels:
    """Each row's duplicate level.

    `cosine` (rows x levels) is the row's largest cosine to representatives of each last level,
    `min_cosines` the threshold of each level.
    """
    # The representatives of a level are those whose last level is that one or a looser one.
    largest = np.maximum.accumulate(cosine[:, ::-1], axis=1)[:, ::-1]
    is_duplicate = largest >= min_cosines
    return np.where(is_duplicate.any(axis=1), is_duplicate.argmax(axis=1), len(min_cosines)).astype(np.int8)


def duplicate_levels_of(similarity: Floats, levels: Sequence[float]) -> DuplicateLevels:
    """The duplicate levels of rows whose links have this similarity (NaN: no link)."""
    cosine = similarity[:, None].repeat(len(levels), axis=1)
    return duplicate_levels(cosine, np.array([min_cosine(eps) for eps in levels]))


def nearest_of_both(one: NearestByLevel, other: NearestByLevel) -> NearestByLevel:
    """The nearer representative of two, per row and last level; of equals that of `one`."""
    first = one.cosine >= other.cosine
    cosine = np.where(first, one.cosine, other.cosine)
    return NearestByLevel(cosine, np.where(first, one.duplicate_of, other.duplicate_of))


def _add_representatives(
    home_rows: Indexes, products: Vectors, candidates: _Candidates, level: DuplicateLevels, num_levels: int
) -> None:
    """Compare rows that represent every level with earlier ones of the block; changes `candidates`.

    Their cosines are below all thresholds, so that single precision is enough to find the nearest.
    """
    rows, columns = np.flatnonzero(level == num_levels), np.flatnonzero(level[home_rows] == num_levels)
    if not len(columns):
        return
    between = products[np.ix_(rows, columns)]
    best = between.argmax(axis=1)
    cosine = between[np.arange(len(rows)), best]
    nearer = cosine > candidates.cosine[rows, -1]
    candidates.cosine[rows[nearer], -1] = cosine[nearer]
    candidates.position[rows[nearer], -1] = IN_BLOCK - home_rows[columns[best[nearer]]]
