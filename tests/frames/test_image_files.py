"""Image files and array files hold the pictures that were added to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.footage import Rgb, draw, read_number
from udfs.frames.image_files import ArrayFile, ImageFiles

SIZE = (160, 120)


def drawings(count: int) -> list[Rgb]:
    return [draw(number, SIZE) for number in range(count)]


def test_each_picture_is_a_file_named_by_its_order_and_time(tmp_path: Path) -> None:
    files = ImageFiles(str(tmp_path), "png", 92)
    for at_s, picture in zip((0.0, 0.5, 61.25), drawings(3), strict=True):
        files.add(at_s, picture)
    assert files.close() == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000000_0.000s.png",
        "000001_0.500s.png",
        "000002_61.250s.png",
    ]
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        assert np.array_equal(np.asarray(Image.open(path)), draw(number, SIZE))  # PNG loses nothing


def test_a_jpeg_shows_the_picture_and_its_quality_counts(tmp_path: Path) -> None:
    sizes = []
    for quality in (30, 95):
        folder = tmp_path / str(quality)
        folder.mkdir()
        files = ImageFiles(str(folder), "jpeg", quality)
        files.add(0.0, draw(77, SIZE))
        sizes.append(files.close())
        with Image.open(folder / "000000_0.000s.jpg") as file:
            assert (file.format, file.size, file.mode) == ("JPEG", SIZE, "RGB")
            assert read_number(np.asarray(file)) == 77
    assert sizes[0] < 0.7 * sizes[1]


@pytest.mark.parametrize("count", [1, 5])
def test_an_array_file_is_numpy_s_own(tmp_path: Path, count: int) -> None:
    file = ArrayFile(str(tmp_path))
    for number, picture in enumerate(drawings(count)):
        file.add(number / 4, picture)
    assert file.close() == (tmp_path / "frames.npz").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["frames.npz"]
    with np.load(tmp_path / "frames.npz") as arrays:
        assert arrays["frames"].dtype == np.uint8
        assert np.array_equal(arrays["frames"], np.stack(drawings(count)))
        assert arrays["times_s"].tolist() == [number / 4 for number in range(count)]
