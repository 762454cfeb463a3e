"""A uri under the output -> a local file to write to, which appears there complete or not at all, be it a folder or a store."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from udfs import source
from udfs.source import local_path

ASIDE = ".writing"  # folder of the media root for files that are not complete yet; a killed run leaves them there
LEFT_S = 24 * 3600.0  # an unfinished file of this age, on its way to a store, has no process any more


def media_uri(root: str, kind: str, key: str, fingerprint: str, suffix: str) -> str:
    """The name of a media file: the same key and settings give the same name in every run and retry."""
    return f"{root}/{kind}/{key[:2]}/{key}-{fingerprint[:8]}{suffix}"


@contextmanager
def writing(uri: str, params: source.Params, root: str | None = None) -> Iterator[str]:
    """A local path to write to; the file takes its place at a `media_uri` when the block ends well, else it is removed.

    `root` is the folder that `uri` lies somewhere below, where that is no `media_uri`.
    """
    if source.is_remote(uri):
        with aside(uri) as folder:
            path = os.path.join(folder, uri.rpartition("/")[2])
            yield path
            source.transport(uri).put(uri, path, params)
        return
    target = local_path(uri)
    folder, name = os.path.split(target)
    root = root or os.path.dirname(os.path.dirname(folder))  # so that the last step is a rename within one file system
    os.makedirs(folder, exist_ok=True)
    os.makedirs(os.path.join(root, ASIDE), exist_ok=True)
    # The suffix stays last: muxers choose the format by it.
    handle, unfinished = tempfile.mkstemp(dir=os.path.join(root, ASIDE), suffix=os.path.splitext(name)[1])
    os.close(handle)
    try:
        yield unfinished
        os.chmod(unfinished, 0o644)  # mkstemp's 0600 would lock readers out
        os.replace(unfinished, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)


@contextmanager
def aside(root: str) -> Iterator[str]:
    """A folder of this machine for files that are not complete yet, gone when the block ends.

    What a killed run leaves is swept up: in a local media root by the next run, on the way to a store after a day.
    """
    folder = _waiting_room() if source.is_remote(root) else os.path.join(local_path(root), ASIDE)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        yield own


@cache
def _waiting_room() -> str:
    folder = Path(tempfile.gettempdir(), f"reelmill-writing-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps as well
            if left.stat().st_mtime < time.time() - LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
    return str(folder)


def sha256(path: str) -> str:
    """Hex digest of a local file, read in pieces."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class File(NamedTuple):
    """A media file that is there."""

    uri: str
    num_bytes: int
    changed_s: float  # seconds of Unix time


def folders(root: str) -> list[str]:
    """The folders of a media root that hold files: <root>/<kind>/<first two characters of the key>."""
    return sorted(found for kind in _within(root) for found in _within(kind))


def files(folder: str) -> Iterator[File]:
    """The files of one of `folders`, as they come."""
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                yield File(f"{folder}/{entry.name}", info.st_size, info.st_mtime)


def remove(uris: Iterable[str]) -> list[str]:
    """Delete media files; those that were still there."""
    gone = []
    for uri in uris:
        with suppress(FileNotFoundError):
            os.unlink(local_path(uri))
            gone.append(uri)
    return gone


def place(uri: str) -> str:
    """A `media_uri` below its root, by which a row names its file even after the output was moved."""
    return "/".join(uri.split("/")[-3:])


def _within(folder: str) -> list[str]:
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        return [f"{folder}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != ASIDE]
    return []
