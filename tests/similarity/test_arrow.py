"""Arrow columns become numpy arrays and come back unchanged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from udfs.similarity import arrow


def test_ids_are_bytes_of_one_width() -> None:
    assert arrow.id_array(pa.array(["a", "bcd"])).tolist() == [b"a", b"bcd"]
    assert arrow.id_array(pa.array(["a", "bcd"])).dtype == np.dtype("S3")


def test_a_slice_of_lists_is_the_matrix_of_that_slice() -> None:
    column = pa.array([[1.0, 2], [3, 4], [5, 6]], pa.list_(pa.float32()))
    assert arrow.matrix_from_lists(column.slice(1)).tolist() == [[3, 4], [5, 6]]


def test_a_slice_of_bytes_is_the_matrix_of_that_slice() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert arrow.matrix_from_binary(arrow.binary_from_matrix(rows).slice(1, 2)).tolist() == rows[1:3].tolist()


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_each_row_is_stored_as_its_bytes(number: type[np.floating]) -> None:
    rows = np.array([[1.5, -2], [3, 4]], number)[:, ::-1]  # not contiguous
    assert arrow.binary_from_matrix(rows).to_pylist() == [row.tobytes() for row in rows]


def test_matrices_are_views_of_the_columns_memory() -> None:
    column = pa.array([[1.0, 2]], pa.list_(pa.float32()))
    assert arrow.matrix_from_lists(column).__array_interface__["data"][0] == column.values.buffers()[1].address
    packed = arrow.binary_from_matrix(np.ones((2, 3), np.float32))
    assert arrow.matrix_from_binary(packed).__array_interface__["data"][0] == packed.buffers()[2].address
