"""K-means on unit vectors: scaling to length 1, k-means++ and Lloyd's algorithm.

The results are the same to the last bit for any order of additions: see SCALE.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]

# Components of unit vectors are rounded to multiples of 2^-24, about float32's precision. A product
# of two is a multiple of 2^-48, and float64 holds all of these below 2^5 exactly, as it holds all
# multiples of 2^-24 below 2^29. Dot products of unit vectors, and sums of fewer than 2^29 of them,
# are therefore exact: the order of rows, tiles, partitions and the BLAS library cannot change them.
SCALE = 2.0**24
BLOCK_ROWS, BLOCK_BYTES = 1 << 12, 1 << 26  # at a time: what is computed of them, such as distances to centers
ROUNDING = 1e-6  # what that rounding may take from a cosine: equal vectors are duplicates even at eps = 0


def unit_vectors(vectors: npt.ArrayLike) -> Floats:
    """Rows scaled to length 1 and rounded to multiples of 2^-24; zeros stay zeros.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    rows = np.asarray(vectors, np.float64)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f"vectors with NaN or infinity in rows {np.flatnonzero(~finite)[:5].tolist()}")
    units = np.empty_like(rows)
    for block in _blocks(len(rows), rows.shape[1]):
        units[block] = _unit(rows[block])
    return units


def _unit(rows: Floats) -> Floats:
    # By the largest component first: squares of tiny numbers underflow, of huge ones overflow.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    scaled = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    length = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return fixed_point(np.divide(scaled, length, out=np.zeros_like(rows), where=length > 0))


def min_cosine(eps: float) -> float:
    """The cosine from which two unit vectors are alike at `eps`: 1 - eps, less the rounding."""
    return 1 - eps - ROUNDING


def fixed_point(numbers: Floats) -> Floats:
    """The nearest multiples of 2^-24."""
    return np.rint(numbers * SCALE) / SCALE


def starting_centers(vectors: Floats, count: int, seed: int) -> Floats:
    """Up to `count` different rows (count x dim) by k-means++ (Arthur and Vassilvitskii, 2007).

    The first center is the first row; each next one is drawn with a probability proportional to its
    squared distance to the nearest center so far. There are fewer centers if fewer rows differ. The
    choice depends on the order of the rows: sort them first.
    """
    random = np.random.default_rng(seed)
    norms = (vectors * vectors).sum(axis=1)
    rows = [0]
    nearest = _squared_distances(vectors, norms, 0)
    while len(rows) < count and nearest.any():
        sums = np.cumsum(nearest)
        rows.append(int(np.searchsorted(sums, random.random() * sums[-1], side="right")))
        nearest = np.minimum(nearest, _squared_distances(vectors, norms, rows[-1]))
    return vectors[rows]


def distinct_rows(vectors: Floats, count: int) -> Floats:
    """The first `count` rows that differ from all rows before them, in their order."""
    return vectors[np.sort(np.unique(vectors, axis=0, return_index=True)[1])[:count]]


def lloyd(vectors: Floats, centers: Floats, max_iter: int, tol: float) -> Floats:
    """Centers (clusters x dim) after Lloyd's algorithm (Lloyd, 1982).

    Each iteration moves every center to the mean of the unit vectors nearest to it, until none
    moves farther than `tol`, or `max_iter` times. A center that is nearest to no vector stays where
    it is.
    """
    label, sums = np.full(len(vectors), -1), np.zeros_like(centers)
    for _ in range(max_iter):
        nearest = _nearest(vectors, fixed_point(centers))
        # Few vectors change their cluster in later iterations, and updates of exact sums are exact.
        differs = np.flatnonzero(nearest != label)
        for block in _blocks(len(differs), vectors.shape[1]):
            rows = differs[block]
            _add(sums, nearest[rows], vectors[rows])
            _add(sums, label[rows], -vectors[rows])
        label = nearest
        counts = np.bincount(label, minlength=len(centers))[:, None]
        before, centers = centers, np.where(counts > 0, sums / np.maximum(counts, 1), centers)
        if np.square(centers - before).sum(axis=1).max() <= tol * tol:
            break
    return centers


def _blocks(count: int, width: int) -> Iterator[slice]:
    """The rows of a matrix (count x width) in blocks of bounded size."""
    size = max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * max(1, width))))
    return (slice(start, start + size) for start in range(0, count, size))


def _nearest(vectors: Floats, centers: Floats) -> Indexes:
    """The nearest center of each vector, the first of equally near ones."""
    nearest, norms = np.empty(len(vectors), np.int64), (centers * centers).sum(axis=1)
    for block in _blocks(len(vectors), len(centers)):
        # Squared distances, less the vector's squared length.
        nearest[block] = (norms - 2 * (vectors[block] @ centers.T)).argmin(axis=1)
    return nearest


def _add(sums: Floats, label: Indexes, vectors: Floats) -> None:
    """Add each vector to the row of its label; -1 is no label."""
    order = np.argsort(label, kind="stable")
    labels, starts = np.unique(label[order], return_index=True)
    of_labels = np.add.reduceat(vectors[order], starts)
    sums[labels[labels >= 0]] += of_labels[labels >= 0]


def _squared_distances(vectors: Floats, norms: Floats, row: int) -> Floats:
    """Squared distance of each row to one of them; exact, so that it is 0 only for equal rows."""
    squared: Floats = norms + norms[row] - 2 * (vectors @ vectors[row])
    return squared
