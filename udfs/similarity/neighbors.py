"""Exhaustive nearest-neighbor search in tiles of unit vectors, on CPU or GPU, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.similarity.kmeans import Floats, Indexes

Vectors = npt.NDArray[np.float32]  # rows x dim
Ids = npt.NDArray[np.bytes_]
Precision = Literal["float32", "bfloat16", "float16"]

TILE = 2048  # vectors per tile; one product multiplies a block of queries by a tile
TILES_IN_MEMORY = 16  # per index; further tiles are memory-mapped files, which the kernel may page out
FREE_SHARE = 0.25  # of a GPU's memory that tiles leave free
# Largest error of a cosine computed from rounded numbers. Rounding to a significand of p bits
# changes a number by a factor of at most 1 +- 2^-p, a product of two by at most twice that; the
# magnitudes of the products of two unit vectors sum to at most 1 (Cauchy-Schwarz). Their sum is
# rounded once more. p is 8 for bfloat16, 11 for float16.
MAX_ERROR = {"bfloat16": 3 * 2.0**-8, "float16": 3 * 2.0**-11}


class Nearest(NamedTuple):
    """Per query the cosine and position of its nearest vector; -inf and -1 if there is none."""

    cosine: Vectors
    position: Indexes


Product = Callable[[Vectors, Any], Nearest]  # (block of queries, tile) -> the nearest of the tile to each query


class Arithmetic(NamedTuple):
    """How cosines are computed: `coarse` for all, `fine` for queries close to a threshold.

    `max_error` is the largest error of a coarse cosine; 0 if there is no need for a fine one.
    """

    coarse: Product
    fine: Product
    max_error: float
    place_tile: Callable[[Vectors], Any]  # moves a full tile to the device that multiplies it


class FlatIndex:
    """Vectors with ids, in the order of addition; a search compares all (FAISS: IndexFlatIP)."""

    def __init__(self, dim: int, arithmetic: Arithmetic) -> None:
        self.dim = dim
        self.arithmetic = arithmetic
        self.full_tiles = list[Any]()
        self.last_tile = np.empty((0, dim), np.float32)  # the one that is not full yet
        self.count = 0
        self.tile_ids = list[Ids]()

    def add(self, vectors: Vectors, ids: Ids) -> None:
        """Append vectors."""
        while len(vectors):
            offset = self.count % TILE
            part = slice(0, TILE - offset)
            self._fill(offset, vectors[part], ids[part])
            vectors, ids = vectors[TILE - offset :], ids[TILE - offset :]

    def ids_at(self, positions: Indexes) -> npt.NDArray[np.object_]:
        """The ids at these positions; None for a negative one."""
        ids = np.full(len(positions), None, object)
        tiles, rows = positions // TILE, positions % TILE
        for tile in np.unique(tiles[positions >= 0]).tolist():
            in_tile = tiles == tile
            ids[in_tile] = self.tile_ids[tile][rows[in_tile]].astype(object)
        return ids

    def vectors_at(self, positions: Indexes) -> Vectors:
        """The vectors at these positions."""
        vectors = np.empty((len(positions), self.dim), np.float32)
        tiles, rows = positions // TILE, positions % TILE
        for tile in np.unique(tiles):
            in_tile = tiles == tile
            part = self._tile(tile)[rows[in_tile]]
            vectors[in_tile] = part if isinstance(part, np.ndarray) else part.cpu().numpy()
        return vectors

    def nearest(self, queries: Vectors, min_cosine: float) -> Nearest:
        """The nearest vector to each query (queries x dim), the first of equals.

        It is searched in single precision wherever its cosine can be `min_cosine` or more; below
        that the cosine may be off by the arithmetic's `max_error`, and the vector another one
        within that error.
        """
        arithmetic = self.arithmetic
        nearest = self._scan(queries, arithmetic.coarse)
        if arithmetic.max_error:
            close = np.flatnonzero(nearest.cosine >= min_cosine - arithmetic.max_error)
            fine = self._scan(queries[close], arithmetic.fine)
            nearest.cosine[close], nearest.position[close] = fine.cosine, fine.position
        return nearest

    def _scan(self, queries: Vectors, product: Product) -> Nearest:
        nearest = no_neighbors(len(queries))
        for tile in range(-(-self.count // TILE) if len(queries) else 0):
            in_tile = product(queries, self._tile(tile))
            nearer = in_tile.cosine > nearest.cosine
            nearest.cosine[nearer] = in_tile.cosine[nearer]
            nearest.position[nearer] = in_tile.position[nearer] + tile * TILE
        return nearest

    def _tile(self, tile: int) -> Any:
        if tile < len(self.full_tiles):
            return self.full_tiles[tile]
        return self.last_tile[: self.count - tile * TILE]

    def _fill(self, offset: int, vectors: Vectors, ids: Ids) -> None:
        if offset == 0:
            self.last_tile = np.empty((TILE, self.dim), np.float32)
            self.tile_ids.append(ids[:0])
        self.last_tile[offset : offset + len(vectors)] = vectors
        self.tile_ids[-1] = np.concatenate([self.tile_ids[-1], ids])
        self.count += len(vectors)
        if self.count % TILE == 0:
            in_memory = len(self.full_tiles) < TILES_IN_MEMORY
            tile = self.last_tile if in_memory else _tile_on_disk(self.last_tile)
            self.full_tiles.append(self.arithmetic.place_tile(tile))


def no_neighbors(num_queries: int) -> Nearest:
    """The result of a search in an empty index."""
    return Nearest(np.full(num_queries, -np.inf, np.float32), np.full(num_queries, -1))


def arithmetic(device: str, precision: Precision) -> Arithmetic:
    """Cosines on `cpu` or `cuda:N`; numpy computes float32 on the CPU, torch everything else."""
    if device == "cpu" and precision == "float32":
        product = _numpy_product()
        return Arithmetic(product, product, 0.0, lambda tile: tile)
    fine = _torch_product(device, "float32")
    if precision == "float32":
        return Arithmetic(fine, fine, 0.0, _tile_placement(device))
    return Arithmetic(_torch_product(device, precision), fine, MAX_ERROR[precision], _tile_placement(device))


def _numpy_product() -> Product:
    buffer = np.empty(0, np.float32)  # reused: the kernel takes as long over fresh pages as BLAS over the product

    def product(queries: Vectors, tile: Vectors) -> Nearest:
        nonlocal buffer
        size = len(queries) * len(tile)
        if buffer.size < size:
            buffer = np.empty(size, np.float32)
        cosines = buffer[:size].reshape(len(queries), len(tile))
        np.matmul(queries, tile.T, out=cosines)
        position = cosines.argmax(axis=1)
        return Nearest(cosines[np.arange(len(queries)), position], position)

    return product


def _torch_product(device: str, precision: str) -> Product:
    import torch

    dtype = getattr(torch, precision)
    # Products of 16 bits are summed in 32, as MAX_ERROR has it.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

    def product(queries: Vectors, tile: Any) -> Nearest:
        left = torch.from_numpy(queries).to(device, dtype)
        right = torch.as_tensor(tile).to(device, dtype)
        cosine, position = (left @ right.T).float().max(dim=1)
        return Nearest(cosine.cpu().numpy(), position.cpu().numpy())

    return product


def _tile_placement(device: str) -> Callable[[Vectors], Any]:
    """Full tiles stay on the GPU while it has room; others are copied there for every product."""
    if device == "cpu":
        return lambda tile: tile
    import torch

    def place(tile: Vectors) -> Any:
        free, total = torch.cuda.mem_get_info(device)
        return torch.from_numpy(tile).to(device) if free > FREE_SHARE * total else tile

    return place


def _tile_on_disk(tile: Vectors) -> Vectors:
    with tempfile.TemporaryFile() as file:  # has no name; its blocks are freed with the array that maps it
        tile.tofile(file)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=tile.shape)


def cosines(left: Vectors, right: Vectors) -> Floats:
    """The exact cosine of each row of `left` with the same row of `right` (see kmeans.SCALE)."""
    products: Floats = np.einsum("ij,ij->i", left, right, dtype=np.float64)
    return products
