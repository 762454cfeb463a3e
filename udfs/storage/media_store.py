"""A uri under the output -> a local file to write to, which appears there complete or not at all, be it a folder or a store."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import BinaryIO, NamedTuple, cast

from udfs.core.errors import MediaError, OutputError
from udfs.core.host_files import user_folder
from udfs.storage import access
from udfs.storage.remote_file import AnyPath, opened
from udfs.storage.settings import Params as Sources
from udfs.storage.stores import writable_store
from udfs.storage.uris import is_remote, local_path

ASIDE = ".writing"  # folder of the media root for files that are not complete yet; a killed run leaves them there
LEFT_S = 24 * 3600.0  # an unfinished file of this age, on its way to a store, has no process any more
OLD_S = 7 * 24 * 3600.0  # what lies unfinished in a store for so long is no run's: several may be at work there
MOUNTS = ("/dbfs/", "/Volumes/")  # of Databricks: what is written there cannot be gone back in


def media_uri(root: str, kind: str, key: str, fingerprint: str, suffix: str) -> str:
    """The name of a media file: the same key and settings give the same name in every run and retry."""
    return f"{root}/{kind}/{key[:2]}/{key}-{fingerprint[:8]}{suffix}"


@contextmanager
def writing(uri: str, params: Sources, root: str | None = None) -> Iterator[str]:
    """A local path to write to; the file takes its place at a `media_uri` when the block ends well, else it is removed.

    `root` is the folder that `uri` lies somewhere below, where that is no `media_uri`.
    """
    root, name = root or uri.rsplit("/", 3)[0], uri.rpartition("/")[2]
    with aside(root) as folder:
        path = os.path.join(folder, name)
        yield path
        if is_remote(uri):
            writable_store(uri).put(uri, path, params)
        else:
            _place(path, local_path(uri), local_path(root))


@contextmanager
def aside(root: str) -> Iterator[str]:
    """A folder of this machine for files that are not complete yet, gone when the block ends; `root` is a media root.

    What a killed run leaves is swept up: in a local media root by the next run, on the way to a store after a day.
    """
    on_its_way = is_remote(root) or local_path(root).startswith(MOUNTS)
    with ExitStack() as stack:
        with _output(root):
            folder = _waiting_room() if on_its_way else os.path.join(local_path(root), ASIDE)
            os.makedirs(folder, exist_ok=True)
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        yield own


def reading(uri: str, params: Sources) -> BinaryIO:
    """A file of an output or of an export, open to be read.

    Raises:
        FileNotFoundError: there is none.
        MediaError, StoreError: its store cannot be asked.
    """
    try:
        return opened(access.own_path(uri, params))
    except MediaError as e:
        if e.code == "NOT_FOUND":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri) from e
        raise


def size(uri: str, params: Sources) -> int | None:
    """Bytes of a file of an output or of an export, None if there is none; raises MediaError and StoreError as `reading`."""
    try:
        return access.stat(access.own_path(uri, params)).size
    except MediaError as e:
        if e.code not in ("NOT_FOUND", "EMPTY"):
            raise
        return None if e.code == "NOT_FOUND" else 0


def has_locks(output: str) -> bool:
    """Whether an output is a folder of a file system that knows locks, which neither stores nor Databricks' mounts do."""
    return not is_remote(output) and not local_path(output).startswith(MOUNTS)


def check(output: str, params: Sources) -> None:
    """Whether an output's store is there and lets us in.

    Raises:
        MediaError: it is not, or does not.
        StoreError: it cannot be asked.
    """
    if is_remote(output):
        writable_store(output).check(output, params)


def holds(uri: str, params: Sources) -> bool:
    """Whether anything lies below a uri.

    Raises:
        MediaError, StoreError: its store cannot be asked.
    """
    return bool(writable_store(uri).holds(uri, params)) if is_remote(uri) else os.path.isdir(local_path(uri))


def sweep(output: str, landing: str, params: Sources) -> None:
    """Remove the unfinished media and the rows not yet in a table that killed runs left: in a store, those older than any run.

    Raises:
        MediaError, StoreError: its store cannot be asked, or does not allow it.
    """
    clear(f"{output}/media", params)
    if is_remote(output):
        writable_store(output).remove_old(f"{output}/{landing}", OLD_S, params)
    else:
        shutil.rmtree(os.path.join(local_path(output), landing), ignore_errors=True)


def clear(root: str, params: Sources) -> None:
    """Remove the files that are not complete below the root of media or of an export: in a store, those older than any run.

    Raises:
        MediaError, StoreError: as `sweep`.
    """
    if is_remote(root):
        writable_store(root).abort_uploads(root, OLD_S, params)
    else:
        shutil.rmtree(os.path.join(local_path(root), ASIDE), ignore_errors=True)


def _place(path: str, target: str, root: str) -> None:
    """Rename, so that a file is there complete or not at all; mounts are written to from the beginning to the end, beside it."""
    with _output(root):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if target.startswith(MOUNTS):
            os.makedirs(os.path.join(root, ASIDE), exist_ok=True)
            path = shutil.copyfile(path, os.path.join(root, ASIDE, uuid.uuid4().hex))
        os.replace(path, target)


@contextmanager
def _output(root: str) -> Iterator[None]:
    """Turn an error of writing below a root into OutputError, which stops the run: every input would meet it."""
    try:
        yield
    except OSError as e:
        raise OutputError(f"{root} cannot be written to: {e.strerror or e}") from e


@cache
def _waiting_room() -> str:
    folder = user_folder("writing")
    for left in folder.iterdir():
        with suppress(FileNotFoundError):  # another process sweeps as well
            if left.stat().st_mtime < time.time() - LEFT_S:
                shutil.rmtree(left, ignore_errors=True)
    return str(folder)


def sha256(path: AnyPath) -> str:
    """Hex digest of a file, wherever it lies, read in pieces."""
    with opened(path) as f:
        return hashlib.file_digest(cast(io.BufferedReader, f), "sha256").hexdigest()


class File(NamedTuple):
    """A media file that is there."""

    uri: str
    num_bytes: int
    changed_s: float  # seconds of Unix time


def folders(root: str, params: Sources) -> list[str]:
    """The folders of a media root that hold files: <root>/<kind>/<first two characters of the key>."""
    return sorted(found for kind in _within(root, params) for found in _within(kind, params))


def files(folder: str, params: Sources) -> Iterator[File]:
    """The files of one of `folders`, as they come."""
    if is_remote(folder):
        yield from (File(*found) for found in writable_store(folder).files(folder, params))
        return
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                yield File(f"{folder}/{entry.name}", info.st_size, info.st_mtime)


def remove(uris: Sequence[str], params: Sources) -> list[str]:
    """Delete media files of one output; those that were still there, as far as its store tells."""
    if uris and is_remote(uris[0]):
        return list(writable_store(uris[0]).remove(uris, params))
    gone = []
    for uri in uris:
        with suppress(FileNotFoundError):
            os.unlink(local_path(uri))
            gone.append(uri)
    return gone


def place(uri: str) -> str:
    """A `media_uri` below its root, by which a row names its file even after the output was moved."""
    return "/".join(uri.split("/")[-3:])


def _within(folder: str, params: Sources) -> list[str]:
    if is_remote(folder):
        return list(writable_store(folder).folders(folder, params))
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        return [f"{folder}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != ASIDE]
    return []
