"""A uri of another machine -> a file that can be read and moved about in, which fetches what is asked for and little more."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from udfs.core.heartbeat import beat

BLOCK = 1 << 18  # bytes that are fetched and kept together
CACHE_BLOCKS = 256  # 64 MiB a process: FFmpeg opens a file anew for each look at it, and reads its index again
MAX_AHEAD = 16  # blocks: 4 MiB, at which the way to a store costs little beside what it carries
AHEAD = 8  # of what was read in a row, a part this large is fetched ahead: what is fetched for nobody stays below it


class Stat(NamedTuple):
    """What a store says of a file without sending it: bytes, and a text that changes when the file does."""

    size: int
    version: str


Fetch = Callable[[str, int, int, str], bytes]  # uri, start, end, version -> the bytes [start, end) of that version


@dataclass(frozen=True)
class RemotePath:
    """What a path is to a local file: it may be opened as often as one likes, in any process."""

    uri: str
    stat: Stat
    fetch: Fetch = field(compare=False)


AnyPath = str | RemotePath

_blocks: OrderedDict[tuple[RemotePath, int], bytes] = OrderedDict()  # the one used last at the end
_lock = threading.Lock()  # of `_blocks`: a worker's threads read at the same time


class SeekableFile(io.RawIOBase):
    """Base of read-only files that have a known size and a position."""

    def __init__(self, num_bytes: int) -> None:
        self._num_bytes, self._at = num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._num_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at


class RemoteFile(SeekableFile):
    """A read-only file over a store's ranges.

    A read beyond what is held fetches the block it begins in, and more blocks the longer the stretch is that was read up to
    there: FFmpeg reads a header in one place, an index in another, and packets in a row.

    Raises:
        MediaError: out of any read, what `fetch` raises.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__(path.stat.size)
        self._path = path
        # By which FFmpeg tells formats that look alike, and which it repeats when it complains: so without a query.
        self.name = path.uri.partition("?")[0].rpartition("/")[2]

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer up to the end of a block; 0 at the end of the file."""
        room = memoryview(buffer).cast("B")
        number, skipped = divmod(self._at, BLOCK)
        if self._at >= self._path.stat.size:
            return 0
        part = _block(self._path, number)[skipped : skipped + len(room)]
        room[: len(part)] = part
        self._at += len(part)
        return len(part)


def opened(path: AnyPath) -> BinaryIO:
    """A file to read from, wherever it lies."""
    return io.BufferedReader(RemoteFile(path)) if isinstance(path, RemotePath) else open(path, "rb")


def size(path: AnyPath) -> int:
    """The size of a file in bytes, wherever it lies."""
    return path.stat.size if isinstance(path, RemotePath) else os.stat(path).st_size


def peek(path: AnyPath, start: int, size: int) -> bytes:
    """`size` bytes of a file from offset `start` on; of a remote file only these are fetched, unless a cached block has them."""
    if not isinstance(path, RemotePath):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(size)
    number, skipped = divmod(start, BLOCK)
    with _lock:
        held = _blocks.get((path, number), b"")[skipped : skipped + size]
    return held if len(held) == size else path.fetch(path.uri, start, start + size, path.stat.version)


def _block(path: RemotePath, number: int) -> bytes:
    with _lock:
        found = _blocks.get((path, number))
        if found is not None:
            _blocks.move_to_end((path, number))
            return found
        wanted = _missing(path, number)
    start, end = number * BLOCK, min((number + wanted) * BLOCK, path.stat.size)
    data = path.fetch(path.uri, start, end, path.stat.version)
    beat()
    with _lock:
        for i in reversed(range(wanted)):  # so that the one to be read first is the last to be forgotten
            _blocks[path, number + i] = data[i * BLOCK : (i + 1) * BLOCK]
        while len(_blocks) > CACHE_BLOCKS:
            _blocks.popitem(last=False)
    return data[:BLOCK]


def _missing(path: RemotePath, number: int) -> int:
    """How many blocks to fetch from one on: a part of those held right before it, up to one that is held."""
    behind = 0
    while behind < MAX_AHEAD * AHEAD and (path, number - behind - 1) in _blocks:
        behind += 1
    last = (path.stat.size - 1) // BLOCK
    wanted = max(1, min(MAX_AHEAD, behind // AHEAD, last - number + 1))
    return next((i for i in range(1, wanted) if (path, number + i) in _blocks), wanted)
