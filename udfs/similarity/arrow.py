"""Arrow columns of ids and vectors as numpy arrays, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from udfs.similarity.kmeans import Floats
from udfs.similarity.neighbors import Ids, Vectors


def id_array(column: pa.Array) -> Ids:
    """Ids (ASCII strings) as bytes of one width."""
    return np.array(column.to_pylist(), np.bytes_)


def matrix_from_lists(column: pa.Array) -> Vectors:
    """A column of float32 lists, all of length dim, as a matrix (rows x dim), without a copy."""
    matrix: Vectors = column.flatten().to_numpy().reshape(len(column), -1)
    return matrix


def matrix_from_binary(column: pa.Array) -> Vectors:
    """A column of `binary_from_matrix`, of float32, as a matrix (rows x dim), without a copy."""
    start, end = (column.offset, column.offset + len(column))
    offsets = np.frombuffer(column.buffers()[1], np.int32)[start : end + 1]
    numbers = np.frombuffer(column.buffers()[2], np.float32, (offsets[-1] - offsets[0]) // 4, offsets[0])
    return numbers.reshape(len(column), -1)


def binary_from_matrix(vectors: Vectors | Floats) -> pa.Array:
    """A binary column with the bytes of each row: its numbers in the machine's byte order."""
    size = vectors.itemsize * vectors.shape[1]
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * size
    data = np.ascontiguousarray(vectors)
    return pa.Array.from_buffers(pa.binary(), len(vectors), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
