"""descriptor: a clip's sampled pictures -> a unit vector of its appearance and motion, which near-copies share.

It is classical signal processing, not a semantic model: two views of one thing are as far apart as any two clips. It finds
clips that were encoded again, scaled, or cropped by some 5 %.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from udfs.frames.extract import Pictures

Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]

SIZE = (64, 64)  # width and height of a picture, pixels
GRID = 16  # means of as many cells a side are what the cosine transforms see
NUM_LUMA, NUM_CHROMA = 80, 16  # lowest spatial frequencies of the mean picture
NUM_SPATIAL, NUM_TEMPORAL = 12, 12  # lowest frequencies of the luma's change over time
DIM = NUM_LUMA + 2 * NUM_CHROMA + NUM_SPATIAL * NUM_TEMPORAL
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]) / 255  # ITU-T T.871
# Appearance or motion this weak is mostly coding noise: 0.02 is a spread of a third of a grey level over the grid.
FLOOR = 0.02


def describe(pictures: Pictures) -> Vector:
    """One clip's frames x 64 x 64 x 3 to DIM numbers of length 1, or to zeros if all it shows is one shade of grey.

    Half of the vector is the mean picture without its brightness, half what changes in it without changes of overall
    brightness: clips of one unmoved camera differ by their motion. Either half fades out where it is mostly noise.
    """
    spectra = _spectra(_cells(pictures))
    mean = spectra.mean(axis=0)
    luma, chroma, spatial = _lowest(NUM_LUMA, skip=1), _lowest(NUM_CHROMA), _lowest(NUM_SPATIAL, skip=1)
    appearance = np.concatenate([mean[luma][:, 0] * _fade(luma), *(mean[chroma][:, 1:].T * _fade(chroma))])
    moving = spectra[:, spatial[0], spatial[1], 0] * np.sqrt(_fade(spatial))
    motion = _over_time(len(pictures)) @ moving / np.sqrt(len(pictures))
    if max(np.linalg.norm(appearance), np.linalg.norm(motion)) < FLOOR:
        return np.zeros(DIM, np.float32)
    whole = np.concatenate([_softly_unit(appearance), _softly_unit(motion.ravel())])
    vector: Vector = (whole / np.linalg.norm(whole)).astype(np.float32)
    return vector


def _cells(pictures: Pictures) -> Floats:
    """Frames x GRID x GRID x 3: mean luma, blue and red difference of each cell, 0-1."""
    frames, height, width, _ = pictures.shape
    cells = pictures.reshape(frames, GRID, height // GRID, GRID, width // GRID, 3).mean(axis=(2, 4))
    channels: Floats = np.einsum("thwc,dc->thwd", cells, YCBCR)
    return channels


def _spectra(cells: Floats) -> Floats:
    """The orthonormal 2-D cosine transform of each frame and channel."""
    basis = _cosines(GRID, GRID)
    spectra: Floats = np.einsum("thwc,yh,xw->tyxc", cells, basis, basis, optimize=True)
    return spectra


def _over_time(frames: int) -> Floats:
    """NUM_TEMPORAL x frames: the lowest frequencies but the constant one; those that so few frames cannot hold are zero."""
    basis = np.zeros((NUM_TEMPORAL, frames))
    held = _cosines(frames, min(NUM_TEMPORAL + 1, frames))[1:]
    basis[: len(held)] = held
    return basis


def _cosines(length: int, count: int) -> Floats:
    """The first `count` rows of the orthonormal DCT-II."""
    waves: Floats = np.cos(np.pi / length * (np.arange(length) + 0.5) * np.arange(count)[:, None]) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return waves


def _lowest(count: int, skip: int = 0) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the lowest spatial frequencies, in rising order; `skip` 1 leaves out the mean."""
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    order = np.argsort(y * y + x * x, kind="stable")[skip : skip + count]
    return y[order], x[order]


def _fade(frequency: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> Floats:
    """Finer detail counts less, since a crop shifts it more."""
    return 1 / (1 + np.hypot(*frequency))


def _softly_unit(part: Floats) -> Floats:
    return part / (np.linalg.norm(part) + FLOOR)
