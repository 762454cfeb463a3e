"""A uri of a manifest -> a path that may be opened, or a MediaError; the only module that decides what may be read."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.errors import MediaError

SAMPLE_BYTES = 1 << 16  # of the head and of the tail, hashed into the content tag
VIDEO_SUFFIXES = (
    ".mp4",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".ogv",
    ".3gp",
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[sources]"""

    roots: Annotated[tuple[str, ...], Field(description="local folders that may be read; empty: any")] = ()


def local_path(uri: str) -> str:
    """The absolute path a uri names; percent escapes count only behind `file://`.

    Raises:
        MediaError: UNSUPPORTED for another scheme, DENIED for a file of another host.
    """
    scheme, found, _ = uri.partition("://")
    if not found:
        return os.path.abspath(uri)
    if scheme.lower() != "file":
        raise MediaError("UNSUPPORTED", f"no reader for {scheme}:// addresses")
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise MediaError("DENIED", f"a file of another host: {parts.netloc}")
    return os.path.abspath(unquote(uri.partition("://")[2].removeprefix(parts.netloc)))


def checked_path(uri: str, params: Params) -> str:
    """The path behind a uri, once it is known to be a readable, non-empty, regular file inside the roots.

    Raises:
        MediaError: DENIED, NOT_FOUND, EMPTY or UNSUPPORTED.
    """
    path = local_path(uri)
    if params.roots and not _inside(path, params.roots):
        raise MediaError("DENIED", "outside sources.roots")
    try:
        info = os.stat(path)
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        raise MediaError("NOT_FOUND", getattr(e, "strerror", None) or str(e)) from e
    if not stat.S_ISREG(info.st_mode):  # a FIFO would block for ever, /dev/zero would never end
        raise MediaError("NOT_FOUND", "not a regular file")
    if not os.access(path, os.R_OK):
        raise MediaError("DENIED", "may not be read")
    if info.st_size == 0:
        raise MediaError("EMPTY", "no bytes")
    return path


def version(path: str) -> str:
    """What changes when the file changes, at the cost of one stat: size in bytes and time of change in ns."""
    info = os.stat(path)
    return f"{info.st_size}-{info.st_mtime_ns}"


def unchanged_path(uri: str, source_version: str, params: Params) -> str:
    """`checked_path` of a file that was ingested earlier.

    Raises:
        MediaError: CHANGED if its size or time is no longer the one ingested, and what `checked_path` raises.
    """
    path = checked_path(uri, params)
    if version(path) != source_version:
        raise MediaError("CHANGED", f"was {source_version} when ingested, is {version(path)}")
    return path


def content_tag(path: str) -> str:
    """Size and a hash of the first and last 64 KiB: the same bytes give the same tag wherever they lie."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        digest = hashlib.blake2b(f.read(SAMPLE_BYTES), digest_size=16)
        f.seek(max(0, size - SAMPLE_BYTES))
        digest.update(f.read(SAMPLE_BYTES))
    return f"{size}-{digest.hexdigest()}"


def video_id(uri: str, tag: str) -> str:
    """The same file at the same place has the same id in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{uri}#{tag}"))


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root) for root in roots)
