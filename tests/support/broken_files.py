"""Damaged copies of a good file, each broken in one known way, the same in every run."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

CONTAINERS_OF_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts")


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an mp4, inner after outer: name, start of the content, end of the content."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield name, start + 8, start + size
        if name in CONTAINERS_OF_BOXES:
            yield from boxes(data, start + 8, start + size)
        start += size


def box(data: bytes, box_name: bytes) -> tuple[int, int]:
    """The start and the end of the content of the first box of this name."""
    return next((begin, end) for name, begin, end in boxes(data) if name == box_name)


def cut_to(source: Path, path: Path, num_bytes: int) -> Path:
    """Write the first `num_bytes` bytes of a file; a negative number drops the last ones."""
    path.write_bytes(source.read_bytes()[:num_bytes])
    return path


def flip_bits(source: Path, path: Path, where: tuple[int, int], flips: int, seed: int) -> Path:
    """Write a copy with `flips` bits inverted between two offsets."""
    data, chance = bytearray(source.read_bytes()), random.Random(seed)
    for _ in range(flips):
        data[chance.randrange(*where)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return path


def patch(source: Path, path: Path, offset: int, new: bytes) -> Path:
    """Write a copy with the bytes from `offset` on replaced by `new`."""
    data = bytearray(source.read_bytes())
    data[offset : offset + len(new)] = new
    path.write_bytes(data)
    return path


def point_elsewhere(source: Path, path: Path, other: Path) -> Path:
    """Write a copy of an mp4 (index at its end) whose first data reference names another file."""
    data = bytearray(source.read_bytes())
    begin, end = box(bytes(data), b"dref")
    where = struct.pack(">HH", 2, len(str(other))) + str(other).encode() + bytes(len(str(other)) % 2)
    record = bytes(10 + 28 + 12 + 64 + 16) + struct.pack(">hh", -1, -1) + bytes(16) + where + struct.pack(">hh", -1, 0)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    grown = len(alias) - (end - begin - 8)
    for _, inside, after in [b for b in boxes(bytes(data)) if b[1] <= begin and b[2] >= end]:
        struct.pack_into(">I", data, inside - 8, after - inside + 8 + grown)
    data[begin + 8 : end] = alias
    path.write_bytes(data)
    return path


def join_files(path: Path, *parts: Path) -> Path:
    """Concatenate files as `cat` does; in MPEG-TS the times jump where two of them meet."""
    path.write_bytes(bytes(chain.from_iterable(part.read_bytes() for part in parts)))
    return path
