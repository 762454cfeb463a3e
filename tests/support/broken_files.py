"""A good video -> files that are each wrong in one known way, the same in every run."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
from av.packet import Packet

CONTAINERS_OF_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts")


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an mp4, inner ones after their outer one: name, where the content begins, where it ends."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield name, start + 8, start + size
        if name in CONTAINERS_OF_BOXES:
            yield from boxes(data, start + 8, start + size)
        start += size


def box(data: bytes, wanted: bytes) -> tuple[int, int]:
    """Where the content of the first box of a name begins and ends."""
    return next((begin, end) for name, begin, end in boxes(data) if name == wanted)


def cut_to(source: Path, path: Path, num_bytes: int) -> Path:
    """The first bytes of a file; the last ones are gone if the number is negative."""
    path.write_bytes(source.read_bytes()[:num_bytes])
    return path


def flip_bits(source: Path, path: Path, where: tuple[int, int], flips: int, seed: int) -> Path:
    """A file with so many bits turned over between two offsets."""
    data, chance = bytearray(source.read_bytes()), random.Random(seed)
    for _ in range(flips):
        data[chance.randrange(*where)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return path


def patch(source: Path, path: Path, offset: int, new: bytes) -> Path:
    """A file with some bytes written over."""
    data = bytearray(source.read_bytes())
    data[offset : offset + len(new)] = new
    path.write_bytes(data)
    return path


def remux(source: Path, path: Path, options: dict[str, str], times: int = 1) -> Path:
    """The packets of a video's picture in another container, as they are, over and over."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        video = given.streams.video[0]
        copy = out.add_stream_from_template(video)
        packets = [p for p in given.demux(video) if p.pts is not None]
        base, duration = video.time_base, video.duration
        assert base is not None
        assert duration is not None
        for lap in range(times):
            for packet in packets:
                again = Packet(bytes(packet))
                again.time_base, again.stream, again.is_keyframe = base, copy, packet.is_keyframe
                again.pts, again.dts = (t + lap * duration for t in (packet.pts or 0, packet.dts or 0))
                out.mux(again)
    return path


def point_elsewhere(source: Path, path: Path, other: Path) -> Path:
    """An mp4, index at its end, whose first data reference names another file."""
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


def join(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` joins them: MPEG-TS with times that jump."""
    path.write_bytes(bytes(chain.from_iterable(part.read_bytes() for part in parts)))
    return path
