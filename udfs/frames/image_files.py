"""Writers of pictures: one image file per picture, or one array file; one picture in memory."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
from PIL import Image

from udfs.frames.extract import Pictures

SUFFIXES = {"jpeg": "jpg", "png": "png"}


class ImageFiles:
    """Writes one file per picture, named by its number and its time: `000012_0.400s.jpg`."""

    def __init__(self, folder: str, encoding: str, quality: int) -> None:
        self.folder, self.encoding, self.quality = folder, encoding, quality
        self.times_s: list[float] = []
        self.num_bytes = 0

    def add(self, at_s: float, picture: Pictures) -> None:
        """Encode the next picture, height x width x 3, shown at `at_s` seconds."""
        path = os.path.join(self.folder, f"{len(self.times_s):06d}_{at_s:.3f}s.{SUFFIXES[self.encoding]}")
        Image.fromarray(picture).save(path, format=self.encoding, quality=self.quality)  # PNG ignores quality
        self.times_s.append(at_s)
        self.num_bytes += os.path.getsize(path)

    def close(self) -> int:
        """The number of bytes in all files."""
        return self.num_bytes


class ArrayFile:
    """Writes `frames.npz`, uncompressed: `frames` (frames x height x width x 3) and `times_s`."""

    def __init__(self, folder: str) -> None:
        self.path, self.raw = os.path.join(folder, "frames.npz"), os.path.join(folder, "frames.raw")
        self.out = open(self.raw, "wb")  # noqa: SIM115 - open until close(); the array header needs the final count
        self.times_s: list[float] = []
        self.shape: tuple[int, ...] = ()

    def add(self, at_s: float, picture: Pictures) -> None:
        """Write the next picture; all pictures have the same size."""
        self.shape = picture.shape
        self.out.write(picture.data)
        self.times_s.append(at_s)

    def close(self) -> int:
        """Assemble the arrays into `frames.npz`; returns its number of bytes."""
        self.out.close()
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(self.times_s), *self.shape)}
        with zipfile.ZipFile(self.path, "w") as archive:
            with archive.open("times_s.npy", "w") as times:
                np.lib.format.write_array(times, np.array(self.times_s))
            with archive.open("frames.npy", "w", force_zip64=True) as pictures, open(self.raw, "rb") as raw:
                np.lib.format.write_array_header_1_0(pictures, header)
                shutil.copyfileobj(raw, pictures)
        os.unlink(self.raw)
        return os.path.getsize(self.path)
