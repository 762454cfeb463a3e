"""Check whether a URI may be read, and give its path, version, content tag and video id."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from stat import S_ISREG
from typing import Any

from udfs.core.errors import MediaError, read_fault
from udfs.storage.http_target import is_inside, parse_target
from udfs.storage.remote_file import AnyPath, RemotePath, Stat, open_path, read_range
from udfs.storage.settings import Params
from udfs.storage.stores import fetch, readable_store
from udfs.storage.uris import absolute_uri, is_remote, is_web, local_path

SAMPLE_BYTES = 1 << 16  # of the head and of the tail, hashed into the content tag
# Samples of the middle: a downloader may allocate the whole file and write head and tail first. Of
# a remote file these are three requests for bytes that nothing else reads, so the samples are
# small: 0.02 % of 200 MB.
MIDDLE_BYTES = 1 << 14
MIDDLE_PARTS = (1, 2, 3)  # quarters of the file at which a sample begins
WINDOWS_PATH = re.compile(r"(^|/)([A-Za-z]:[\\/]|\\\\)")  # a drive or a network share


def checked_path(uri: str, params: Params) -> AnyPath:
    """The path behind a URI, once it is known to be a readable, non-empty, regular file or an object, inside the roots.

    Raises:
        MediaError: DENIED, NOT_FOUND, EMPTY, UNREACHABLE or UNSUPPORTED.
    """
    if is_remote(uri):
        return _checked_remote(uri, params)
    path = local_path(uri)
    with _read_faults():
        check_inside(path, params)
    if WINDOWS_PATH.search(uri) and not os.path.lexists(path):
        raise MediaError("NOT_FOUND", "no such file; a Windows path: write it as this machine names it")
    with _read_faults():
        info = os.stat(path)
    if not S_ISREG(info.st_mode):  # reading a FIFO would block for ever, and /dev/zero would never end
        raise MediaError("NOT_FOUND", "not a regular file")
    if not os.access(path, os.R_OK):
        raise MediaError("NOT_FOUND", "no permission to read it")
    if info.st_size == 0:
        raise MediaError("EMPTY", "no bytes")
    return path


def address(row: Mapping[str, Any]) -> str:
    """The address by which a video is read: that with its password or signature, if the row has one."""
    return str(row.get("address") or row["uri"])


def remote_path(uri: str, params: Params) -> RemotePath:
    """The path behind a remote URI, for one request; neither its size nor the roots are checked, nor redirects.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: the store cannot be used at all.
    """
    return _remote_path(uri, replace(params, roots=()) if is_web(uri) else params)


def own_path(uri: str, params: Params) -> AnyPath:
    """`checked_path` for a file of an output, an export or a manifest, which need not lie inside the roots."""
    return checked_path(uri, replace(params, roots=()))


def unchanged_path(uri: str, source_version: str, params: Params) -> AnyPath:
    """`checked_path` for a file that an earlier stage read in the version `source_version`.

    Raises:
        MediaError: CHANGED if it now has another version, and whatever `checked_path` raises.
    """
    path = checked_path(uri, params)
    if version(path) != source_version:
        raise MediaError("CHANGED", f"was {source_version} when ingested, is {version(path)}")
    return path


def stat(path: AnyPath) -> Stat:
    """Size in bytes, and a version that changes when the file does.

    The version of a local file is its size and its time of change in ns.
    """
    if isinstance(path, RemotePath):
        return path.stat
    with _read_faults():
        info = os.stat(path)
    return Stat(info.st_size, f"{info.st_size}-{info.st_mtime_ns}")


def version(path: AnyPath) -> str:
    """A text that changes when the file does."""
    return stat(path).version


def uri_version(uri: str, params: Params) -> str:
    """The version of the file behind a URI, for one stat of a local file or one request.

    Raises:
        MediaError: what `checked_path` raises; a local file is only looked at, not checked.
    """
    return version(_checked_remote(uri, params) if is_remote(uri) else local_path(uri))


def check_inside(path: str, params: Params) -> None:
    """Refuse a local path or a remote URI outside the roots.

    Raises:
        MediaError: DENIED.
    """
    if not params.roots:
        return
    lies_inside = _is_below if is_remote(path) else _is_inside
    if not lies_inside(path, params.roots):
        raise MediaError("DENIED", "outside sources.roots")


def changed_s(path: str) -> float:
    """When a local file was last changed, in seconds of Unix time."""
    return os.stat(path).st_mtime


def content_tag(path: AnyPath) -> str:
    """Size, a hash of the first and last 64 KiB, and one of samples between them; equal files have equal tags anywhere.

    Raises:
        MediaError: the file cannot be read.
    """
    size = stat(path).size
    with _read_faults():
        with open_path(path) as f:
            ends = hashlib.blake2b(f.read(SAMPLE_BYTES), digest_size=16)
            f.seek(max(0, size - SAMPLE_BYTES))
            ends.update(f.read(SAMPLE_BYTES))
        if size <= 2 * SAMPLE_BYTES:  # head and tail are the whole file
            return f"{size}-{ends.hexdigest()}"
        middle = hashlib.blake2b(digest_size=8)
        for part in MIDDLE_PARTS:
            middle.update(read_range(path, size * part // 4, MIDDLE_BYTES))
    return f"{size}-{ends.hexdigest()}-{middle.hexdigest()}"


def is_tagged(tag: str, tags: Collection[str]) -> bool:
    """Whether a content tag is among `tags`; tags of earlier releases lack the hash of the middle."""
    return tag in tags or "-".join(tag.split("-")[:2]) in tags


def video_id(uri: str, tag: str) -> str:
    """The id of the video with a URI and a content tag, the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{uri}#{tag}"))


@contextmanager
def _read_faults() -> Iterator[None]:
    """Turn an error of examining or reading a local file into MediaError."""
    try:
        yield
    except OSError as e:
        raise read_fault(e) from e
    except ValueError as e:
        raise MediaError("NOT_FOUND", f"no file can have this name: {e}") from e


def _checked_remote(uri: str, params: Params) -> RemotePath:
    check_inside(uri, params)
    path = _remote_path(uri, params)
    if path.stat.size == 0:
        raise MediaError("EMPTY", "no bytes")
    if path.stat.size > params.max_bytes:
        raise MediaError("TOO_LARGE", f"{path.stat.size} bytes, over sources.max_bytes")
    return path


def _remote_path(uri: str, params: Params) -> RemotePath:
    store = readable_store(uri)
    return RemotePath(uri, store.stat(uri, params), partial(fetch, params=params))


def _is_below(uri: str, roots: tuple[str, ...]) -> bool:
    """Whether a remote address lies below one of the roots."""
    if is_web(uri):
        return is_inside(parse_target(uri), map(absolute_uri, roots))
    return any(uri.startswith(absolute_uri(root).rstrip("/") + "/") for root in roots)


def _is_inside(path: str, roots: tuple[str, ...]) -> bool:
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root) for root in roots)
