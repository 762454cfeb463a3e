"""Vectors and centres -> unit vectors, starting centres, and the nearest centre of each: the same in any order of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

# Components are rounded to multiples of 2^-24, about a float32's precision. Products and sums of such numbers are exact in
# float64 (below 2^53 steps of 2^-48), so that a dot product or a mean cannot depend on order, tiles, partitions or BLAS.
STEPS = 2.0**24


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


def fixed(numbers: Floats) -> Floats:
    """The nearest multiples of 2^-24."""
    return np.rint(numbers * STEPS) / STEPS


def starts(vectors: Floats, count: int, seed: int) -> Floats:
    """Up to `count` different rows of unit vectors, far from each other: k-means++ (Arthur and Vassilvitskii, 2007).

    Fewer if fewer rows differ. The rows' order matters: bring them in a fixed one.
    """
    random = np.random.default_rng(seed)
    chosen = [0]
    apart = _apart(vectors, vectors[0])
    while len(chosen) < count and apart.any():
        sums = np.cumsum(apart)
        chosen.append(int(np.searchsorted(sums, random.random() * sums[-1], side="right")))
        apart = np.minimum(apart, _apart(vectors, vectors[chosen[-1]]))
    return vectors[chosen]


def nearest(vectors: Floats, centres: Floats) -> tuple[Indexes, Floats]:
    """For each unit vector the index of the nearest centre, the first of equals, and 1 - cosine to it.

    The distance to a centre of zeros, which has no direction, is 1.
    """
    at = fixed(centres)
    norms = (at * at).sum(axis=1)
    dots = vectors @ at.T
    label = np.argmin(norms - 2 * dots, axis=1)
    length = np.sqrt(norms[label] * (vectors * vectors).sum(axis=1))
    cosine = np.divide(dots[np.arange(len(label)), label], length, out=np.zeros(len(label)), where=length > 0)
    return label, 1 - cosine


def _apart(vectors: Floats, row: Floats) -> Floats:
    """Squared distance of each row to one; exact, so that it is 0 for an equal row alone."""
    squared: Floats = (vectors * vectors).sum(axis=1) + (row * row).sum() - 2 * (vectors @ row)
    return squared
