"""Pictures with their times -> image files, or one file of arrays, in a folder; no more than one picture is held."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
from PIL import Image

from udfs.frames.extract import Pictures

SUFFIXES = {"jpeg": "jpg", "png": "png"}


class ImageFiles:
    """A file a picture, named by its place in the order and its time: `000012_0.400s.jpg`."""

    def __init__(self, folder: str, encoding: str, quality: int) -> None:
        self.folder, self.encoding, self.quality = folder, encoding, quality
        self.times_s: list[float] = []
        self.num_bytes = 0

    def add(self, at_s: float, picture: Pictures) -> None:
        """Encode the next picture, height x width x 3."""
        path = os.path.join(self.folder, f"{len(self.times_s):06d}_{at_s:.3f}s.{SUFFIXES[self.encoding]}")
        Image.fromarray(picture).save(path, format=self.encoding, quality=self.quality)  # which PNG ignores
        self.times_s.append(at_s)
        self.num_bytes += os.path.getsize(path)

    def close(self) -> int:
        """How many bytes were written."""
        return self.num_bytes


class ArrayFile:
    """`frames.npz` with the arrays `frames` (frames x height x width x 3) and `times_s`, not compressed."""

    def __init__(self, folder: str) -> None:
        self.path, self.raw = os.path.join(folder, "frames.npz"), os.path.join(folder, "frames.raw")
        self.out = open(self.raw, "wb")  # noqa: SIM115 - until close(); the count that heads the array is known last
        self.times_s: list[float] = []
        self.shape: tuple[int, ...] = ()

    def add(self, at_s: float, picture: Pictures) -> None:
        """Write the next picture, of the size of the ones before."""
        self.shape = picture.shape
        self.out.write(picture.data)
        self.times_s.append(at_s)

    def close(self) -> int:
        """Put the arrays together; how many bytes that are."""
        self.out.close()
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(self.times_s), *self.shape)}
        with zipfile.ZipFile(self.path, "w") as file:
            with file.open("times_s.npy", "w") as times:
                np.lib.format.write_array(times, np.array(self.times_s))
            with file.open("frames.npy", "w", force_zip64=True) as pictures, open(self.raw, "rb") as raw:
                np.lib.format.write_array_header_1_0(pictures, header)
                shutil.copyfileobj(raw, pictures)
        os.unlink(self.raw)
        return os.path.getsize(self.path)
