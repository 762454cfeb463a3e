"""ladder: the vectors of a cluster, in the order in which they are to be kept -> the elder that each is linked to.

At every level (an eps, tightest first) a row falls if an elder that stands at this level has a cosine of at least 1 - eps to
it. What fell at a tighter level is out of the looser ones. A row's link is the nearest elder that stands at the level at which
it falls; of a row that never falls, the nearest elder that never falls either. Hence

- one similarity answers for every eps: a row is a duplicate where its similarity is at least 1 - eps, the sets for rising eps
  lie within each other, and following the links ends at a row that stands;
- at each level no two rows that stand are alike, and none falls because of one that has fallen;
- between a row and what finally stands for it there is at most a step a level, each by rising eps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.similarity.kmeans import Floats, Indexes, min_cosine
from udfs.similarity.neighbors import Arithmetic, Ids, Shelf, Vectors, cosines

NOISE = 1e-4  # above what single precision may cost a cosine of up to 1,600 numbers

Flags = npt.NDArray[np.bool_]
Falls = npt.NDArray[np.int8]  # the level, from 0, at which each row falls; the number of levels if it never does


class Links(NamedTuple):
    """Of each row the level at which it falls, the id it is linked to, None if there is no elder, and the cosine, else NaN."""

    fall: Falls
    to: npt.NDArray[np.object_]
    similarity: Floats


class Near(NamedTuple):
    """By row and shelf the cosine to the nearest elder there, -inf if there is none, and its id."""

    cosine: Floats
    to: npt.NDArray[np.object_]

    @classmethod
    def nothing(cls, num_rows: int, num_levels: int) -> Near:
        """No elders."""
        return cls(np.full((num_rows, num_levels), -np.inf), np.full((num_rows, num_levels), None, object))


class Found(NamedTuple):
    """As Near, but elders by where they are: a place on the shelf, IN_BLOCK - a row of the block, or ELSEWHERE."""

    cosine: Floats
    where: Indexes


ELSEWHERE = -2  # -1 is nobody
IN_BLOCK = -3


class Ladder:
    """The rows so far that can stand for others: a shelf for each level at which they fall, and a last one for the rest."""

    def __init__(self, levels: Sequence[float], dim: int, arithmetic: Arithmetic) -> None:
        self.least = np.array([min_cosine(eps) for eps in levels])
        self.shelves = [Shelf(dim, arithmetic) for _ in levels]  # of the rows that fall at level 1, 2, ..., never

    def put(self, vectors: Vectors, ids: Ids, fall: Falls) -> None:
        """Add elders whose fate is known."""
        for i, shelf in enumerate(self.shelves):
            here = fall == i + 1
            shelf.put(vectors[here], ids[here])

    def climb(self, block: Vectors, ids: Ids, home: Flags | None = None, before: Near | None = None) -> Links:
        """Link the rows of a block, each an elder of those after it, and put them on the shelves.

        Those that are not at home here look at their elders, and are none themselves. `before` is what is known from elsewhere.
        """
        found = self._find(block)
        if before is not None:
            known = before.cosine > found.cosine
            found.cosine[known], found.where[known] = before.cosine[known], ELSEWHERE
        fall = falls(found.cosine, self.least)
        elders = np.arange(len(block)) if home is None else np.flatnonzero(home)
        products = block @ block[elders].T
        np.copyto(products, -np.inf, where=elders >= np.arange(len(block))[:, None])
        self._among(block, elders, products, found, fall)
        _add_standing(elders, products, found, fall, len(self.least))
        links = self._links(block, ids, found, fall, before)
        self.put(block[elders], ids[elders], fall[elders])
        return links

    def _find(self, block: Vectors) -> Found:
        """The nearest on each shelf, the cosine exact where it comes near a level."""
        found = Found(np.empty((len(block), len(self.shelves))), np.empty((len(block), len(self.shelves)), np.int64))
        for i, shelf in enumerate(self.shelves):
            found.cosine[:, i], found.where[:, i] = shelf.nearest(block, self.least[-1] - NOISE)
            some = np.flatnonzero((found.where[:, i] >= 0) & (found.cosine[:, i] >= self.least[-1] - NOISE))
            found.cosine[some, i] = cosines(block[some], shelf.take(found.where[some, i]))
        return found

    def _among(self, block: Vectors, elders: Indexes, products: Vectors, found: Found, fall: Falls) -> None:
        """Let the rows of a block that are alike fall by each other, in order; changes `found` and `fall`."""
        alike = products >= self.least[-1] - NOISE
        rows = np.flatnonzero(alike.any(axis=1))
        some = np.flatnonzero(alike.any(axis=0))
        exact = block[rows].astype(np.float64) @ block[elders[some]].astype(np.float64).T
        for i, row in enumerate(rows.tolist()):
            near = np.flatnonzero(alike[row, some])
            level = fall[elders[some[near]]]
            for shelf in range(len(self.least)):
                there = near[level == shelf + 1]
                if len(there):
                    best = there[exact[i, there].argmax()]
                    if exact[i, best] > found.cosine[row, shelf]:
                        found.cosine[row, shelf], found.where[row, shelf] = exact[i, best], IN_BLOCK - elders[some[best]]
            fall[row] = falls(found.cosine[row : row + 1], self.least)[0]

    def _links(self, block: Vectors, ids: Ids, found: Found, fall: Falls, before: Near | None) -> Links:
        """The nearest elder that stands at the level at which each row falls; its cosine exact."""
        num_levels = len(self.least)
        counts = np.arange(num_levels) >= np.minimum(fall, num_levels - 1)[:, None]
        best = np.where(counts, found.cosine, -np.inf).argmax(axis=1)
        rows = np.arange(len(block))
        where, similarity = found.where[rows, best], found.cosine[rows, best]
        to = np.full(len(block), None, object)
        for i, shelf in enumerate(self.shelves):
            some = np.flatnonzero((best == i) & (where >= 0))
            to[some], similarity[some] = shelf.names(where[some]), cosines(block[some], shelf.take(where[some]))
        some = np.flatnonzero(where <= IN_BLOCK)
        elder = IN_BLOCK - where[some]
        to[some], similarity[some] = ids[elder].astype(object), cosines(block[some], block[elder])
        if before is not None:
            some = np.flatnonzero(where == ELSEWHERE)
            to[some] = before.to[some, best[some]]
        return Links(fall, to, np.where(np.isinf(similarity), np.nan, similarity))


def falls(near: Floats, least: Floats) -> Falls:
    """The level at which each row falls, from its cosines by shelf (rows x levels) and the least cosine of each level."""
    best = np.maximum.accumulate(near[:, ::-1], axis=1)[:, ::-1]  # at a level count the shelves of those that fall later
    fallen = best >= least
    return np.where(fallen.any(axis=1), fallen.argmax(axis=1), len(least)).astype(np.int8)


def fall_of(similarity: Floats, levels: Sequence[float]) -> Falls:
    """The level at which rows fall that have this similarity, NaN for those without elders."""
    return falls(similarity[:, None].repeat(len(levels), axis=1), np.array([min_cosine(eps) for eps in levels]))


def nearer(one: Near, other: Near) -> Near:
    """The nearer of two, by row and shelf."""
    first = one.cosine >= other.cosine
    return Near(np.where(first, one.cosine, other.cosine), np.where(first, one.to, other.to))


def _add_standing(elders: Indexes, products: Vectors, found: Found, fall: Falls, never: int) -> None:
    """For the rows of a block that never fall, the nearest elder of their kind among them; changes `found`."""
    standing, by = np.flatnonzero(fall == never), np.flatnonzero(fall[elders] == never)
    if not len(by):
        return
    among = products[np.ix_(standing, by)]
    best = among.argmax(axis=1)
    cosine = among[np.arange(len(standing)), best]
    better = cosine > found.cosine[standing, -1]
    found.cosine[standing[better], -1] = cosine[better]
    found.where[standing[better], -1] = IN_BLOCK - elders[by[best[better]]]
