"""A file object over an mp4 that reads only its index; media data reads as zeros."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO

from udfs.core.errors import read_fault
from udfs.storage.remote_file import AnyPath, SeekableFile, open_path, size

LARGE_SIZE, TO_THE_END = 1, 0  # special values of a box's 32-bit size (ISO/IEC 14496-12, 4.2)
ZEROS = bytes(1 << 16)  # returned by one read, at most
MAX_TRUNCATION = 100  # a truncated file is assumed to have been at most this many times as large


class IndexFile(SeekableFile):
    """A read-only mp4 whose `mdat` boxes read as zeros once `skip_media` has been called.

    FFmpeg's demuxer reads every sample to make a packet of it. The times of packets are in the
    index, so that zeros are good enough where only times are needed.
    """

    def __init__(self, path: AnyPath) -> None:
        super().__init__(size(path))
        self._file = open_path(path)
        self._starts: list[int] = []  # of media data, in bytes from the beginning
        self._ends: list[int] = []
        self._skips = False
        self.name = "index.mp4"

    def skip_media(self) -> None:
        """Return zeros for media data from now on."""
        media = list(_media_ranges(self._file, self._num_bytes))
        self._starts, self._ends, self._skips = [start for start, _ in media], [end for _, end in media], True
        # A truncated file appears as long as its boxes say; a far longer box is damage.
        self._num_bytes = min(max(self._num_bytes, *self._ends, 0), MAX_TRUNCATION * self._num_bytes)

    def read(self, num_bytes: int = -1, /) -> bytes:
        """Read at most `num_bytes` bytes, and not across the beginning or end of media data."""
        rest = max(0, self._num_bytes - self._at)
        num_bytes = rest if num_bytes < 0 else min(num_bytes, rest)
        is_media, end = self._region() if self._skips else (False, self._num_bytes)
        num_bytes = max(0, min(num_bytes, end - self._at))
        data = ZEROS[:num_bytes] if is_media else self._read(num_bytes)
        self._at += len(data)
        return data

    def _read(self, num_bytes: int) -> bytes:
        try:
            self._file.seek(self._at)
            return self._file.read(num_bytes)
        except OSError as e:
            raise read_fault(e) from e

    def close(self) -> None:
        self._file.close()
        super().close()

    def _region(self) -> tuple[bool, int]:
        """Whether the position lies in media data, and the byte offset where that changes."""
        before = bisect_right(self._starts, self._at) - 1
        if before >= 0 and self._at < self._ends[before]:
            return True, self._ends[before]
        return False, self._starts[before + 1] if before + 1 < len(self._starts) else self._num_bytes


def _media_ranges(file: BinaryIO, num_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the contents of each top-level `mdat` box begin and end, in bytes."""
    at = 0
    while at + 8 <= num_bytes:
        file.seek(at)
        head = file.read(16)
        length, header_length = struct.unpack(">I", head[:4])[0], 8
        if length == LARGE_SIZE and len(head) == 16:
            length, header_length = struct.unpack(">Q", head[8:])[0], 16
        elif length == TO_THE_END:
            length = num_bytes - at
        if length < header_length:
            return
        if head[4:8] == b"mdat":
            yield at + header_length, at + length
        at += length
