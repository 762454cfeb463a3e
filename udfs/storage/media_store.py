"""The files of an output or export, local or on S3: write, read, list and delete them.

A new file appears complete or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import BinaryIO, NamedTuple, cast

from udfs.core.errors import MediaError, OutputError, StoreError
from udfs.core.host_files import user_folder
from udfs.storage import access, parent_files
from udfs.storage.remote_file import AnyPath, open_path
from udfs.storage.settings import Params as Sources
from udfs.storage.stores import writable_store
from udfs.storage.uris import is_remote, local_path

log = logging.getLogger("reelmill")
UNFINISHED = ".writing"  # folder of the media root for files that are not complete yet; a killed run leaves them there
LOCAL_LEFTOVER_S = 24 * 3600.0  # no process still writes a local file of this age that is to be uploaded
STORE_LEFTOVER_S = 7 * 24 * 3600.0  # nor an unfinished upload of this age; several runs may write to one store
ANY_AGE_S = -math.inf  # by whatever clock: what was written a moment ago is older than that
MOUNTS = ("/dbfs/", "/Volumes/")  # of Databricks; files there can only be written from start to end


def media_uri(root: str, kind: str, key: str, fingerprint: str, suffix: str) -> str:
    """The URI of a media file; the same key and settings give the same URI in every run and retry."""
    return f"{root}/{kind}/{key[:2]}/{key}-{fingerprint[:8]}{suffix}"


@contextmanager
def write_to(uri: str, params: Sources, root: str | None = None) -> Iterator[str]:
    """A local path to write to; when the block ends, the file moves or is uploaded to `uri`.

    After an error it is deleted. `root` is the folder above `uri` that belongs to the output or
    export; without, `uri` is a `media_uri`.
    """
    root, name = root or uri.rsplit("/", 3)[0], uri.rpartition("/")[2]
    with unfinished_folder(root) as folder:
        path = os.path.join(folder, name)
        yield path
        place(path, uri, root, params)


def place(path: str, uri: str, root: str, params: Sources) -> None:
    """Move a finished file or folder to its place in the output or export below `root`; a file may be uploaded."""
    if parent_files.connected():
        parent_files.put(path, uri)
    elif is_remote(uri):
        writable_store(uri).put(uri, path, params)
    elif os.path.isdir(path):
        _place_folder(path, local_path(uri), local_path(root))
    else:
        _place(path, local_path(uri), local_path(root))


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder of this user for files that go nowhere, which is deleted when the block ends."""
    with tempfile.TemporaryDirectory(dir=_upload_folder()) as folder:
        yield folder


@contextmanager
def unfinished_folder(root: str) -> Iterator[str]:
    """A local folder for unfinished files below `root`, which is deleted when the block ends.

    What a killed run leaves there is deleted later: in a local root by the next run, before an
    upload after a day.
    """
    if parent_files.connected():
        with parent_files.own_folder() as folder:
            yield folder
        return
    is_uploaded = is_remote(root) or local_path(root).startswith(MOUNTS)
    with ExitStack() as stack:
        with output_errors(root):
            folder = _upload_folder() if is_uploaded else os.path.join(local_path(root), UNFINISHED)
            os.makedirs(folder, exist_ok=True)
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        yield own


def open_uri(uri: str, params: Sources) -> BinaryIO:
    """Open a file of an output or export for reading.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError, StoreError: its store does not answer or refuses.
    """
    try:
        return open_path(access.own_path(uri, params))
    except MediaError as e:
        if e.code == "NOT_FOUND":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri) from e
        raise


def size(uri: str, params: Sources) -> int | None:
    """Size in bytes of a file of an output or export, None if there is no such file.

    Raises errors of stores as `open_uri` does.
    """
    try:
        return access.stat(access.own_path(uri, params)).size
    except MediaError as e:
        if e.code not in ("NOT_FOUND", "EMPTY"):
            raise
        return None if e.code == "NOT_FOUND" else 0


def has_locks(output: str) -> bool:
    """Whether an output lies on a file system with locks, which neither S3 nor the mounts of Databricks have."""
    return not is_remote(output) and not local_path(output).startswith(MOUNTS)


def check(output: str, params: Sources) -> None:
    """Refuse an output on a store that is not there or does not let us in.

    Raises:
        MediaError: there is no such bucket, or it is not accessible.
        StoreError: the credentials, region or scheme are wrong.
    """
    if is_remote(output):
        writable_store(output).check(output, params)


def holds(uri: str, params: Sources) -> bool:
    """Whether a local folder exists, or S3 has an object below a URI.

    Raises:
        MediaError, StoreError: as `check`.
    """
    return writable_store(uri).holds(uri, params) if is_remote(uri) else os.path.isdir(local_path(uri))


def remove_leftovers(output: str, landing: str, params: Sources, min_age_s: float = STORE_LEFTOVER_S) -> None:
    """Delete what killed runs left in an output: unfinished media, and the rows in `landing`.

    No table has these rows. On S3, where other runs may be writing, only what is older than
    `min_age_s` is deleted.

    Raises:
        MediaError, StoreError: the store does not answer or refuses.
    """
    remove_unfinished(f"{output}/media", params, min_age_s)
    if is_remote(output):
        writable_store(output).remove_old(f"{output}/{landing}", min_age_s, params)
    else:
        shutil.rmtree(os.path.join(local_path(output), landing), ignore_errors=True)


def remove_unfinished(root: str, params: Sources, min_age_s: float = STORE_LEFTOVER_S) -> None:
    """Delete the unfinished files below the root of media or of an export.

    On S3 only those older than `min_age_s` are deleted. Where a store refuses or does not
    answer, they stay, with a warning: no result depends on them.
    """
    if not is_remote(root):
        shutil.rmtree(os.path.join(local_path(root), UNFINISHED), ignore_errors=True)
        return
    try:
        writable_store(root).abort_uploads(root, min_age_s, params)
    except (MediaError, StoreError) as e:
        log.warning("uploads that killed runs left at %s stay: %s", root, e)


def _place(path: str, target: str, root: str) -> None:
    """Rename a finished file to its path.

    To a mount it is copied first, because it cannot be renamed from elsewhere.
    """
    with output_errors(root):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if target.startswith(MOUNTS):
            path = shutil.copyfile(path, _place_in_mount(root))
        os.replace(path, target)


def _place_folder(folder: str, target: str, root: str) -> None:
    """Rename a folder to its path, over one of other settings or of another attempt of the task.

    To a mount its files are copied first, as one file is.
    """
    with output_errors(root), ExitStack() as stack:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if target.startswith(MOUNTS):
            os.mkdir(copy := _place_in_mount(root))
            for left in (copy, f"{copy}.before"):
                stack.callback(shutil.rmtree, left, ignore_errors=True)
            for name in os.listdir(folder):
                shutil.copyfile(os.path.join(folder, name), os.path.join(copy, name))
            folder = copy
        with suppress(FileNotFoundError):
            os.rename(target, f"{folder}.before")
        try:
            os.rename(folder, target)
        except OSError as e:
            if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another attempt moved its folder there first
                raise


def _place_in_mount(root: str) -> str:
    """A new path below a root for what is still being copied to the mount that it lies in."""
    os.makedirs(os.path.join(root, UNFINISHED), exist_ok=True)
    return os.path.join(root, UNFINISHED, uuid.uuid4().hex)


@contextmanager
def output_errors(root: str) -> Iterator[None]:
    """Turn an error of writing below a root into OutputError.

    This stops the run, because every input would meet the error.

    Raises:
        OutputError: the block cannot write there.
    """
    try:
        yield
    except OSError as e:
        raise OutputError(f"{root} cannot be written to: {e.strerror or e}") from e


@cache
def _upload_folder() -> str:
    folder = user_folder("writing")
    for leftover in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has deleted it
            if leftover.stat().st_mtime < time.time() - LOCAL_LEFTOVER_S:
                shutil.rmtree(leftover, ignore_errors=True)
    return str(folder)


def sha256(path: AnyPath) -> str:
    """Hex digest of a local or remote file."""
    with open_path(path) as f:
        return hashlib.file_digest(cast(io.BufferedReader, f), "sha256").hexdigest()


class File(NamedTuple):
    """A media file that exists."""

    uri: str
    num_bytes: int
    changed_s: float  # seconds of Unix time


def folders(root: str, params: Sources) -> list[str]:
    """The folders of a media root that hold files: <root>/<kind>/<first two characters of the key>."""
    return sorted(folder for kind in subfolders(root, params) for folder in subfolders(kind, params))


def files(folder: str, params: Sources) -> Iterator[File]:
    """The files of one of `folders`, as they are listed."""
    if is_remote(folder):
        yield from (File(*entry) for entry in writable_store(folder).files(folder, params))
        return
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                info = entry.stat(follow_symlinks=False)
                yield File(f"{folder}/{entry.name}", info.st_size, info.st_mtime)


def remove(uris: Sequence[str], params: Sources) -> list[str]:
    """Delete media files of one output, and return the URIs of those that existed.

    S3 does not tell whether a file existed, so there it is all of them.
    """
    if uris and is_remote(uris[0]):
        return writable_store(uris[0]).remove(uris, params)
    deleted = []
    for uri in uris:
        with suppress(FileNotFoundError):
            os.unlink(local_path(uri))
            deleted.append(uri)
    return deleted


def path_in_root(uri: str) -> str:
    """A `media_uri` relative to its root, by which rows and files are matched even after the output was moved."""
    return "/".join(uri.split("/")[-3:])


def subfolders(folder: str, params: Sources) -> list[str]:
    if is_remote(folder):
        return writable_store(folder).folders(folder, params)
    with suppress(FileNotFoundError), os.scandir(local_path(folder)) as entries:
        return [
            f"{folder}/{entry.name}"
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and entry.name != UNFINISHED
        ]
    return []
