"""A classical descriptor of a clip: a unit vector of appearance and motion that near-copies share.

It is signal processing, not a semantic model: two views of one object are as far apart as any two
clips. It finds clips that were re-encoded, scaled, or cropped by about 5 %.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from udfs.frames.extract import Pictures

Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]

SIZE = (64, 64)  # width and height of a picture, pixels
GRID = 16  # cells per side, whose means the cosine transforms take
NUM_LUMA, NUM_CHROMA = 80, 16  # lowest spatial frequencies of the mean frame
NUM_SPATIAL, NUM_TEMPORAL = 12, 12  # lowest frequencies of the luma's change over time
DIM = NUM_LUMA + 2 * NUM_CHROMA + NUM_SPATIAL * NUM_TEMPORAL
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]) / 255  # ITU-T T.871
# Appearance or motion this weak is mostly coding noise: 0.02 is a spread of a third of a gray level
# over the grid.
FLOOR = 0.02


def describe(pictures: Pictures) -> Vector:
    """The unit vector of a clip's frames, frames x 64 x 64 x 3: DIM numbers, zeros for a clip of one gray.

    Half of the vector is the mean frame without its brightness. The other half is what changes over
    time, without changes of overall brightness: clips of one fixed camera differ by their motion.
    Either half fades out where it is mostly noise.
    """
    spectra = _spectra(_cells(pictures))
    mean = spectra.mean(axis=0)
    luma, spatial = (_lowest_frequencies(number, skip=1) for number in (NUM_LUMA, NUM_SPATIAL))
    chroma = _lowest_frequencies(NUM_CHROMA)
    appearance = np.concatenate(
        [mean[luma][:, 0] * _detail_weight(luma), *(mean[chroma][:, 1:].T * _detail_weight(chroma))]
    )
    moving = spectra[:, spatial[0], spatial[1], 0] * np.sqrt(_detail_weight(spatial))
    motion = _time_basis(len(pictures)) @ moving / np.sqrt(len(pictures))
    if max(np.linalg.norm(appearance), np.linalg.norm(motion)) < FLOOR:
        return np.zeros(DIM, np.float32)
    whole = np.concatenate([_damped_unit(appearance), _damped_unit(motion.ravel())])
    vector: Vector = (whole / np.linalg.norm(whole)).astype(np.float32)
    return vector


def _cells(pictures: Pictures) -> Floats:
    """Frames x GRID x GRID x 3: mean luma, blue and red difference per cell, 0-1."""
    frames, height, width, _ = pictures.shape
    cells = pictures.reshape(frames, GRID, height // GRID, GRID, width // GRID, 3).mean(axis=(2, 4))
    channels: Floats = np.einsum("thwc,dc->thwd", cells, YCBCR)
    return channels


def _spectra(cells: Floats) -> Floats:
    """The orthonormal 2-D cosine transform per frame and channel."""
    basis = _cosines(GRID, GRID)
    spectra: Floats = np.einsum("thwc,yh,xw->tyxc", cells, basis, basis, optimize=True)
    return spectra


def _time_basis(frames: int) -> Floats:
    """NUM_TEMPORAL x frames: the lowest frequencies without the constant; zero where there are too few frames."""
    basis = np.zeros((NUM_TEMPORAL, frames))
    waves = _cosines(frames, min(NUM_TEMPORAL + 1, frames))[1:]
    basis[: len(waves)] = waves
    return basis


def _cosines(length: int, count: int) -> Floats:
    """The first `count` rows of the orthonormal DCT-II."""
    waves: Floats = np.cos(np.pi / length * (np.arange(length) + 0.5) * np.arange(count)[:, None]) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return waves


def _lowest_frequencies(count: int, skip: int = 0) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the lowest spatial frequencies, in rising order; `skip=1` leaves out the mean."""
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    order = np.argsort(y * y + x * x, kind="stable")[skip : skip + count]
    return y[order], x[order]


def _detail_weight(frequency: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> Floats:
    """Finer detail weighs less, since a crop shifts it more."""
    return 1 / (1 + np.hypot(*frequency))


def _damped_unit(part: Floats) -> Floats:
    return part / (np.linalg.norm(part) + FLOOR)
