"""Damaged videos: seeded mutations of real encodes, from single bits to extreme header numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.support import broken_files
from tests.support.footage import write_numbered
from tests.support.odd_times import FRAGMENTED, HYBRID, SMALL, copy_packets

NUMBERS = (
    b"mvhd",
    b"tkhd",
    b"mdhd",
    b"stts",
    b"ctts",
    b"stsc",
    b"stsz",
    b"stco",
    b"elst",
    b"stss",
    b"stsd",
    b"trun",
    b"tfhd",
)
WIDTHS = (1, 2, 4, 4, 4, 8)  # bytes of a field
HEADER_BYTES = 2048

Mutation = Callable[[bytearray, random.Random, list[bytes]], None]


def write_originals(folder: Path) -> list[Path]:
    """Write real encodes of three seconds with sound, one per container."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [
        ("h264.mp4", "libx264", "aac"),
        ("hevc.mov", "libx265", "aac"),
        ("h264.mkv", "libx264", "ac3"),
        ("vp9.webm", "libvpx-vp9", "opus"),
        ("h264.ts", "libx264", "mp2"),
        ("mpeg2.mpg", "mpeg2video", "mp2"),
        ("h264.flv", "libx264", "aac"),
        ("mpeg4.avi", "mpeg4", "mp3"),
        ("wmv.wmv", "wmv2", "wmav2"),
        ("hevc.mkv", "libx265", "aac"),
        ("av1.mp4", "libsvtav1", "aac"),
        ("av1.webm", "libsvtav1", "opus"),
        ("mpeg4.mp4", "mpeg4", "aac"),
        ("mpeg2.ts", "mpeg2video", "mp2"),
    ]
    paths = [write_numbered(folder / name, 90, 30, SMALL, codec, audio=audio, gop=30) for name, codec, audio in kinds]
    paths.append(write_numbered(folder / "prores.mov", 90, 30, SMALL, "prores_ks", "yuv422p10le", "aac"))
    paths.append(copy_packets(paths[0], folder / "fragmented.mp4", FRAGMENTED))
    paths.append(copy_packets(paths[0], folder / "hybrid.mp4", HYBRID))
    return paths


def write_mutants(originals: list[Path], folder: Path, count: int, seed: int) -> list[Path]:
    """Write `count` damaged copies, determined by the seed; their names state their mutations."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, contents = random.Random(seed), [path.read_bytes() for path in originals]
    paths = []
    for number in range(count):
        path, content = chance.choice(list(zip(originals, contents, strict=True)))
        data = bytearray(content)
        name, mutate = chance.choice(list(MUTATIONS.items()))
        mutate(data, chance, contents)
        target = folder / f"{number:03d}-{name}-{path.name}"
        target.write_bytes(data)
        paths.append(target)
    return paths


def _flip(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    for _ in range(chance.choice((1, 4, 16, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    del data[chance.randrange(1, len(data)) :]


def _splice(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    other = chance.choice(others)
    start, length = chance.randrange(len(other)), chance.randrange(1, 20_000)
    at = chance.randrange(len(data))
    data[at : at + chance.choice((0, length))] = other[start : start + length]


def _zeros(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    at, length = chance.randrange(len(data)), chance.randrange(1, 20_000)
    data[at : at + length] = bytes(len(data[at : at + length]))


def _swap(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """Swap two boxes of an mp4; in another file, swap two pieces of the same length."""
    places = [(begin - 8, end) for _, begin, end in _boxes(data)]
    if len(places) < 2:
        length = chance.randrange(1, len(data) // 4)
        places = [
            (at, at + length)
            for at in (chance.randrange(len(data) // 4), chance.randrange(len(data) // 2, len(data) // 4 * 3))
        ]
    (a, b), (c, d) = sorted(chance.sample(places, 2))
    if b <= c:
        data[a:d] = data[c:d] + data[b:c] + data[a:b]


def _number(data: bytearray, chance: random.Random, others: list[bytes]) -> None:
    """Replace a header number by one at the edge of its field."""
    width = chance.choice(WIDTHS)
    places = [(begin, end) for name, begin, end in _boxes(data) if name in NUMBERS and end - begin >= width]
    begin, end = chance.choice(places) if places else (0, min(HEADER_BYTES, len(data)))
    at = begin + chance.randrange((end - begin) // width) * width
    most = (1 << 8 * width) - 1
    edge = chance.choice((0, 1, 2, most // 2, most // 2 + 1, most - 1, most))
    at = min(at, len(data) - width)
    data[at : at + width] = edge.to_bytes(width, "big")


def _boxes(data: bytearray) -> list[tuple[bytes, int, int]]:
    return list(broken_files.boxes(bytes(data))) if data[4:8] == b"ftyp" else []


MUTATIONS: dict[str, Mutation] = {
    "flip": _flip,
    "cut": _cut,
    "splice": _splice,
    "zeros": _zeros,
    "swap": _swap,
    "number": _number,
}
