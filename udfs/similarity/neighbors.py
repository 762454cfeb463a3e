"""neighbours: unit vectors kept in tiles -> the nearest of them to each vector of a block, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from udfs.similarity.kmeans import Floats, Indexes

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.bytes_]
Precision = Literal["float32", "bfloat16", "float16"]

TILE = 2048  # vectors; one product is a block by a tile
IN_MEMORY = 16  # tiles of a shelf that stay in memory; further ones lie in a file that the kernel may page out
ROOM = 0.25  # share of a GPU's memory that tiles leave free
# How far a cosine may be off that is computed from rounded numbers: each product by twice half a unit of their last place,
# and the sum of their magnitudes is at most 1.
OFF = {"bfloat16": 2.0**-8, "float16": 2.0**-10}


class Nearest(NamedTuple):
    """Of each row of a block the nearest vector's cosine, -inf if there is none, and its place, -1."""

    cosine: Vectors
    place: Indexes


Product = Callable[[Vectors, Any], Nearest]  # of a block and a tile


class Arithmetic(NamedTuple):
    """How cosines are computed: `rough` for all, `fine` for those that come within `off` of what matters."""

    rough: Product
    fine: Product
    off: float
    hold: Callable[[Vectors], Any]  # a full tile to where its products are made


class Shelf:
    """Vectors in the order in which they were put there, with their ids."""

    def __init__(self, dim: int, arithmetic: Arithmetic) -> None:
        self.dim = dim
        self.arithmetic = arithmetic
        self.full = list[Any]()  # tiles
        self.open = np.empty((0, dim), np.float32)  # the last tile, as long as it is not full
        self.count = 0
        self.ids = list[Ids]()  # by tile

    def put(self, vectors: Vectors, ids: Ids) -> None:
        """Add vectors."""
        while len(vectors):
            at = self.count % TILE
            first = slice(0, TILE - at)
            self._fill(at, vectors[first], ids[first])
            vectors, ids = vectors[TILE - at :], ids[TILE - at :]

    def names(self, places: Indexes) -> npt.NDArray[np.object_]:
        """The ids at some places; None for a place that is less than 0."""
        found = np.full(len(places), None, object)
        tiles, rows = places // TILE, places % TILE
        for tile in np.unique(tiles[places >= 0]).tolist():
            here = tiles == tile
            found[here] = self.ids[tile][rows[here]].astype(object)
        return found

    def take(self, places: Indexes) -> Vectors:
        """The vectors at some places."""
        found = np.empty((len(places), self.dim), np.float32)
        tiles, rows = places // TILE, places % TILE
        for tile in np.unique(tiles):
            here = tiles == tile
            piece = self._tile(tile)[rows[here]]
            found[here] = piece if isinstance(piece, np.ndarray) else piece.cpu().numpy()
        return found

    def nearest(self, block: Vectors, least: float) -> Nearest:
        """The nearest vector to each row of a block; of what may come to `least` or more, in single precision."""
        way = self.arithmetic
        best = self._scan(block, way.rough)
        if way.off:
            again = np.flatnonzero(best.cosine >= least - way.off)
            fine = self._scan(block[again], way.fine)
            best.cosine[again], best.place[again] = fine.cosine, fine.place
        return best

    def _scan(self, block: Vectors, product: Product) -> Nearest:
        best = nothing(len(block))
        for tile in range(-(-self.count // TILE) if len(block) else 0):
            found = product(block, self._tile(tile))
            nearer = found.cosine > best.cosine
            best.cosine[nearer], best.place[nearer] = found.cosine[nearer], found.place[nearer] + tile * TILE
        return best

    def _tile(self, tile: int) -> Any:
        return self.full[tile] if tile < len(self.full) else self.open[: self.count - tile * TILE]

    def _fill(self, at: int, vectors: Vectors, ids: Ids) -> None:
        if at == 0:
            self.open = np.empty((TILE, self.dim), np.float32)
            self.ids.append(ids[:0])
        self.open[at : at + len(vectors)] = vectors
        self.ids[-1] = np.concatenate([self.ids[-1], ids])
        self.count += len(vectors)
        if self.count % TILE == 0:
            self.full.append(self._held())

    def _held(self) -> Any:
        if len(self.full) < IN_MEMORY:
            return self.arithmetic.hold(self.open)
        return self.arithmetic.hold(_filed(self.open))


def nothing(num_rows: int) -> Nearest:
    """What is nearest where there is nothing."""
    return Nearest(np.full(num_rows, -np.inf, np.float32), np.full(num_rows, -1))


def arithmetic(device: str, precision: Precision) -> Arithmetic:
    """On `cpu` or `cuda:N`; another precision than float32 takes torch, on a CPU too."""
    if device == "cpu" and precision == "float32":
        product = _on_cpu()
        return Arithmetic(product, product, 0.0, lambda tile: tile)
    fine = _by_torch(device, "float32")
    if precision == "float32":
        return Arithmetic(fine, fine, 0.0, _holder(device))
    return Arithmetic(_by_torch(device, precision), fine, OFF[precision], _holder(device))


def _on_cpu() -> Product:
    space = np.empty(0, np.float32)  # kept: to get the pages of fresh megabytes from the kernel takes as long as the products

    def product(block: Vectors, tile: Vectors) -> Nearest:
        nonlocal space
        if space.size < len(block) * len(tile):
            space = np.empty(len(block) * len(tile), np.float32)
        cosines = space[: len(block) * len(tile)].reshape(len(block), len(tile))
        np.matmul(block, tile.T, out=cosines)
        place = cosines.argmax(axis=1)
        return Nearest(cosines[np.arange(len(block)), place], place)

    return product


def _by_torch(device: str, precision: str) -> Product:
    import torch

    kind = getattr(torch, precision)

    def product(block: Vectors, tile: Any) -> Nearest:
        left = torch.from_numpy(block).to(device, kind)
        right = torch.as_tensor(tile).to(device, kind)
        cosine, place = (left @ right.T).float().max(dim=1)
        return Nearest(cosine.cpu().numpy(), place.cpu().numpy())

    return product


def _holder(device: str) -> Callable[[Vectors], Any]:
    """Full tiles go to the GPU while there is room; the rest are sent there each time."""
    if device == "cpu":
        return lambda tile: tile
    import torch

    def hold(tile: Vectors) -> Any:
        free, total = torch.cuda.mem_get_info(device)
        return torch.from_numpy(tile).to(device) if free > ROOM * total else tile

    return hold


def _filed(tile: Vectors) -> Vectors:
    with tempfile.TemporaryFile() as file:  # gone from the folder at once, from the disk with the array
        tile.tofile(file)
        file.flush()
        return np.memmap(file, np.float32, "r", shape=tile.shape)


def cosines(one: Vectors, other: Vectors) -> Floats:
    """Of rows with the rows opposite them, exact: see udfs/similarity/kmeans.py on the fixed steps."""
    products: Floats = np.einsum("ij,ij->i", one, other, dtype=np.float64)
    return products
