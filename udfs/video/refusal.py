"""The reason why a file did not open, from its first bytes."""

from __future__ import annotations

import av.error

from udfs.core.errors import MediaError, read_fault
from udfs.demux.demuxer import memory_fault
from udfs.storage.remote_file import AnyPath, open_path, size

PLAYLISTS = (
    b"#EXTM3U",
    b"ffconcat",
    b"v=0",
    b"[playlist]",
    b"[Reference]",
    b"<?xml",
    b"<MPD",
    b"<asx",
    b"<ASX",
    b"<smil",
    b"RTSPtext",
)
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp")
MAGIC = (
    b"\x1aE\xdf\xa3",  # Matroska
    b"OggS",
    b"FLV",
    b"0&\xb2u",  # ASF
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e+4\x02\x05\x01\x01\r\x01\x02",  # MXF
    b"\x00\x00\x00\x00\x01\xbc",  # GXF
    b"\x1f\x07\x00",  # DV
    b".RMF",  # RealMedia
    b"\xb7\xd8\x00 7I\xda\x11\xa6N\x00\x07\xe9^\xad\x8d",  # WTV
    b"nut/multimedia container",
    b"DKIF",  # IVF
    b"G@",  # MPEG-TS, also of a single packet
    b"DHAV",  # recorders of Dahua
    b"YUV4MPEG2",
)
# Files that are no videos, by their first bytes; they often come from a failed download or copy.
OTHERS = {
    b"<!doctype html": "a web page: a download that failed?",
    b"<html": "a web page: a download that failed?",
    b"version https://git-lfs": "a pointer of Git LFS: the file itself was not fetched",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"\x89png": "a picture (PNG)",
    b"gif8": "a picture (GIF)",
    b"pk\x03\x04": "an archive (ZIP)",
    b"rar!": "an archive (RAR)",
    b"7z\xbc\xaf\x27\x1c": "an archive (7z)",
    b"\x1f\x8b": "an archive (gzip)",
    b"%pdf": "a document (PDF)",
}
# First packet's offset and bytes per packet: MPEG-TS, and M2TS with a time before each.
TS_PACKETS = ((0, 188), (4, 192))
SYNC = 0x47  # the first byte of each packet


def refusal(path: AnyPath, error: Exception) -> MediaError:
    """The error to raise for a container that FFmpeg refused."""
    try:
        with open_path(path) as f:
            head = f.read(512)
    except OSError as e:
        return read_fault(e)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(PLAYLISTS):
        return MediaError("DENIED", "a playlist, which would open other files")
    if isinstance(error, av.error.MemoryError):
        return memory_fault("a header", size(path))
    if _is_container(head):
        return MediaError("CORRUPT", f"a video container that does not open: {getattr(error, 'strerror', error)}")
    if not any(head):
        return MediaError("CORRUPT", "nothing but zeros: an incomplete copy?")
    if bare := _bare_codec(head):
        advice = (
            f"a bare {bare} stream, which holds no times: put it into a container (ffmpeg -r FPS -i IN -c copy OUT.mp4)"
        )
        return MediaError("UNSUPPORTED", advice)
    other = next((name for magic, name in OTHERS.items() if text[: len(magic)].lower() == magic), None)
    return MediaError("UNSUPPORTED", f"not a video container, but {other}" if other else "not a video container")


def _bare_codec(head: bytes) -> str | None:
    """H.264 or HEVC, if the first NAL unit is an access unit delimiter or a parameter set.

    It is None for anything else.
    """
    start = head.removeprefix(b"\x00")
    if not start.startswith(b"\x00\x00\x01") or len(start) < 5:
        return None
    if start[3] & 0x1F in (7, 9) and not start[3] & 0x80:
        return "H.264"
    return "HEVC" if start[3] >> 1 in (32, 33, 35) else None


def _is_container(head: bytes) -> bool:
    if head[4:8] in BOXES or head.startswith(MAGIC):
        return True
    if any(len(head) > at + size and head[at] == head[at + size] == SYNC for at, size in TS_PACKETS):
        return True
    return (head[:4], head[8:12]) in ((b"RIFF", b"AVI "), (b"RIFF", b"AVIX"), (b"RIFF", b"AMV "))
