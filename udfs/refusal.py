"""A file that did not open -> why, told from its first bytes."""

from __future__ import annotations

import av.error

from udfs.errors import MediaError, read_fault
from udfs.remote import AnyPath, opened

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"<?xml", b"<MPD")
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp")
MAGIC = (b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"0&\xb2u", b"\x00\x00\x01\xba", b"G@")


def refusal(path: AnyPath, error: Exception) -> MediaError:
    """The error to raise for a container that FFmpeg refused."""
    try:
        with opened(path) as f:
            head = f.read(512)
    except OSError as e:
        return read_fault(e)
    if any(head.lstrip().startswith(mark) for mark in PLAYLISTS):
        return MediaError("DENIED", "a playlist, which would open other files")
    if isinstance(error, av.error.MemoryError):
        return MediaError("OOM", "the header asks for more memory than the limit")
    if head[4:8] in BOXES or head.startswith(MAGIC) or (head[:4], head[8:12]) == (b"RIFF", b"AVI "):
        return MediaError("CORRUPT", f"a video container that does not open: {getattr(error, 'strerror', error)}")
    return MediaError("UNSUPPORTED", "not a video container")
