"""Vectors and centres -> unit vectors, starting centres, and the nearest centre of each: the same in any order of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

# Components are rounded to multiples of 2^-24, about a float32's precision. Products and sums of such numbers are exact in
# float64 (below 2^53 steps of 2^-48), so that a dot product or a mean cannot depend on order, tiles, partitions or BLAS.
STEPS = 2.0**24
ROUNDING = 1e-6  # what the steps may cost a cosine: equal vectors are duplicates even at eps = 0


def unit(vectors: npt.ArrayLike) -> Floats:
    """Rows scaled to length 1 and rounded to the fixed steps; a row of zeros stays so.

    Raises:
        ValueError: a number that is not finite.
    """
    rows = np.asarray(vectors, np.float64)
    if not np.isfinite(rows).all():
        raise ValueError(f"vectors with NaN or infinity in rows {np.flatnonzero(~np.isfinite(rows).all(axis=1))[:5].tolist()}")
    # By the largest component first: squares of tiny numbers vanish, of huge ones overflow.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return fixed(np.divide(scaled, length, out=np.zeros_like(rows), where=length > 0))


def least_cosine(eps: float) -> float:
    """The cosine from which two unit vectors are alike at an eps."""
    return 1 - eps - ROUNDING


def fixed(numbers: Floats) -> Floats:
    """The nearest multiples of 2^-24."""
    return np.rint(numbers * STEPS) / STEPS


def starts(vectors: Floats, count: int, seed: int) -> Floats:
    """Up to `count` different rows of unit vectors, far from each other: k-means++ (Arthur and Vassilvitskii, 2007).

    Fewer if fewer rows differ. The rows' order matters: bring them in a fixed one.
    """
    random = np.random.default_rng(seed)
    norms = (vectors * vectors).sum(axis=1)
    chosen = [0]
    apart = _apart(vectors, norms, 0)
    while len(chosen) < count and apart.any():
        sums = np.cumsum(apart)
        chosen.append(int(np.searchsorted(sums, random.random() * sums[-1], side="right")))
        apart = np.minimum(apart, _apart(vectors, norms, chosen[-1]))
    return vectors[chosen]


def different(vectors: Floats, count: int) -> Floats:
    """The first rows that differ from those before them, up to `count`."""
    return vectors[np.sort(np.unique(vectors, axis=0, return_index=True)[1])[:count]]


def lloyd(vectors: Floats, first: Floats, max_iter: int, tol: float) -> Floats:
    """Centres moved to the means of the unit vectors nearest to them, until a step of each is at most `tol`.

    A centre that is nearest to none stays.
    """
    centres: Floats = first
    label, sums = np.full(len(vectors), -1), np.zeros_like(first)
    for _ in range(max_iter):
        found = _scores(vectors, fixed(centres)).argmin(axis=1)
        moved = found != label  # few after some steps; what they add to and take from a sum of fixed steps is exact
        sums += (_members(found[moved], len(first)) - _members(label[moved], len(first))) @ vectors[moved]
        label = found
        counts = np.bincount(label, minlength=len(first))[:, None]
        before, centres = centres, np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        if np.square(centres - before).sum(axis=1).max() <= tol * tol:
            break
    return centres


def _scores(vectors: Floats, at: Floats) -> Floats:
    """For each vector and centre a number that is the less, the nearer the centre is."""
    scores: Floats = (at * at).sum(axis=1) - 2 * (vectors @ at.T)
    return scores


def _members(label: Indexes, count: int) -> Floats:
    """A row a centre, with 1 for each vector that is its own."""
    members: Floats = (label == np.arange(count)[:, None]).astype(np.float64)
    return members


def _apart(vectors: Floats, norms: Floats, row: int) -> Floats:
    """Squared distance of each row to one; exact, so that it is 0 for an equal row alone."""
    squared: Floats = norms + norms[row] - 2 * (vectors @ vectors[row])
    return squared
