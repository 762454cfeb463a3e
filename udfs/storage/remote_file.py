"""Remote files that are read like local ones: fetched in blocks, with read-ahead and a cache."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from udfs.core.heartbeat import beat
from udfs.storage import parent_files
from udfs.storage.parent_files import Stat as Stat

BLOCK = 1 << 18  # bytes that are fetched and cached together
CACHE_BLOCKS = 256  # 64 MiB per process: FFmpeg opens a file several times, and reads its index again each time
MAX_AHEAD = 16  # blocks: at 4 MiB the round trip to a store costs little beside the transfer
AHEAD = 8  # a fetch takes 1/8 of what was just read in sequence, so that few bytes are fetched in vain
NOWHERE = -errno.EINVAL  # FFmpeg's own files answer so to a seek to a place that cannot be

Fetch = Callable[[str, int, int, str], bytes]  # uri, start, end, version -> the bytes [start, end) of that version


@dataclass(frozen=True)
class RemotePath:
    """What a path is for a local file: it can be opened any number of times, in any process."""

    uri: str
    stat: Stat
    fetch: Fetch = field(compare=False)


AnyPath = str | RemotePath

_blocks: OrderedDict[tuple[RemotePath, int], bytes] = OrderedDict()  # the block used last is at the end
_lock = threading.Lock()  # of `_blocks`, which several threads of a worker use


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
        """Move; NOWHERE before the file's beginning."""
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._num_bytes}[whence]
        if at < 0:
            return NOWHERE
        self._at = at
        return at


class MediaFile(io.BufferedReader):
    """A local file for FFmpeg, whose demuxers seek to whatever a file says, and expect no exception."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; NOWHERE before the file's beginning, or where no file reaches."""
        try:
            return super().seek(offset, whence)
        except OSError as e:
            if e.errno not in (errno.EINVAL, errno.EOVERFLOW):
                raise
        except (ValueError, OverflowError):
            pass
        return NOWHERE


class RemoteFile(SeekableFile):
    """A read-only file whose bytes are fetched from a store.

    A read that the cache cannot answer fetches its block, and more blocks the longer the sequence
    is that was read up to it: FFmpeg reads a header in one place, an index in another, and packets
    in sequence.

    Raises:
        MediaError: from any read, what `fetch` raises.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__(path.stat.size)
        self._path = path
        # FFmpeg uses the name to tell similar formats apart and repeats it in messages, so it must
        # not have the query.
        self.name = path.uri.partition("?")[0].rpartition("/")[2]

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer up to the end of a block; 0 at the end of the file."""
        room = memoryview(buffer).cast("B")
        number, offset = divmod(self._at, BLOCK)
        if self._at >= self._path.stat.size:
            return 0
        part = _block(self._path, number)[offset : offset + len(room)]
        room[: len(part)] = part
        self._at += len(part)
        return len(part)


def open_path(path: AnyPath) -> BinaryIO:
    """Open a local or remote file for reading."""
    if isinstance(path, RemotePath):
        return io.BufferedReader(RemoteFile(path))
    return parent_files.open_file(path) if parent_files.connected() else open(path, "rb")


def media_file(path: AnyPath) -> Any:
    """What FFmpeg opens for a path: the path itself, or a file object where this process opens no files."""
    if isinstance(path, RemotePath):
        return RemoteFile(path)
    return MediaFile(parent_files.open_file(path).detach()) if parent_files.connected() else path


def size(path: AnyPath) -> int:
    """The size of a local or remote file in bytes."""
    return path.stat.size if isinstance(path, RemotePath) else os.stat(path).st_size


def read_range(path: AnyPath, start: int, size: int) -> bytes:
    """`size` bytes from offset `start`; of a remote file only these are fetched, unless a cached block has them all."""
    if not isinstance(path, RemotePath):
        with open_path(path) as file:
            file.seek(start)
            return file.read(size)
    number, offset = divmod(start, BLOCK)
    with _lock:
        cached = _blocks.get((path, number), b"")[offset : offset + size]
    return cached if len(cached) == size else path.fetch(path.uri, start, start + size, path.stat.version)


def _block(path: RemotePath, number: int) -> bytes:
    with _lock:
        cached = _blocks.get((path, number))
        if cached is not None:
            _blocks.move_to_end((path, number))
            return cached
        count = _num_to_fetch(path, number)
    start, end = number * BLOCK, min((number + count) * BLOCK, path.stat.size)
    data = path.fetch(path.uri, start, end, path.stat.version)
    beat()
    with _lock:
        for i in reversed(range(count)):  # so that the block to be read first leaves the cache last
            _blocks[path, number + i] = data[i * BLOCK : (i + 1) * BLOCK]
        while len(_blocks) > CACHE_BLOCKS:
            _blocks.popitem(last=False)
    return data[:BLOCK]


def _num_to_fetch(path: RemotePath, number: int) -> int:
    """How many blocks to fetch from `number` on: a part of the cached sequence before it, and none that is cached."""
    before = 0
    while before < MAX_AHEAD * AHEAD and (path, number - before - 1) in _blocks:
        before += 1
    last = (path.stat.size - 1) // BLOCK
    count = max(1, min(MAX_AHEAD, before // AHEAD, last - number + 1))
    return next((i for i in range(1, count) if (path, number + i) in _blocks), count)
