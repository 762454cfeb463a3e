"""What a call of the decoding process may reach, and its parent's answers to what the process asks for.

A call may reach only what its arguments name: they come from the parent, not from a video.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from udfs.core.errors import MediaError
from udfs.runtime.context import Env, Outputs, Row
from udfs.storage import access, media_store
from udfs.storage.remote_file import RemotePath
from udfs.storage.settings import Params as Sources
from udfs.storage.stores import readable_store
from udfs.storage.uris import is_remote, local_path

MAX_FETCH = 64 << 20  # bytes per request
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ADDRESSES = ("uri", "proxy_uri")  # columns that name files which later stages read
READ = (*ADDRESSES, "address")  # columns of inputs that name files
Reply = tuple[Any, Exception | None]


@dataclass
class Grant:
    """The files that a call may read, with the right to read outside `sources.roots`, and where it may write."""

    reads: dict[str, bool] = field(default_factory=dict)  # path or URI -> whether it must lie inside the roots
    sources: Sources = field(default_factory=Sources)
    outputs: Outputs | None = None
    names: set[str] = field(default_factory=set)  # keys with which the names of what it writes begin
    written: set[str] = field(default_factory=set)  # URIs

    def check(self, result: Any) -> None:
        """Refuse an answer that names other files than the call could read or wrote: later stages would read them.

        Raises:
            MediaError: CRASH.
        """
        for column, uri in _addresses(result):
            if uri not in self.written and _place(uri) not in self.reads:
                raise MediaError("CRASH", f"the decoding process answers with a {column} that it did not write")

    def answer(self, request: Any, folder: str) -> tuple[Reply | bytes, int | None]:
        """The answer to a request, and an open file that goes along; an error becomes part of the answer.

        `folder` is the process's own; what it has finished lies there.
        """
        try:
            name, *args = request
            if name == "open":
                return (None, None), self._open(*args)
            if name == "fetch":
                return self._fetch(*args), None
            if name == "stat":
                return (self._stat(*args), None), None
            if name == "put":
                finished, uri = args
                self._put(finished, uri, folder)
                return (None, None), None
            raise PermissionError(f"no such request: {name!r}")
        except Exception as e:  # noqa: BLE001 - the decoding process raises it again
            return (None, e), None

    def _open(self, path: str) -> int:
        must_be_inside = self._right_to(path)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # which a FIFO would otherwise wait for
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise MediaError("NOT_FOUND", "not a regular file")
            if must_be_inside:  # the path may have become a link since it was checked
                access.check_inside(f"/proc/self/fd/{handle}", self.sources)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _stat(self, uri: str) -> Any:
        return tuple(readable_store(uri).stat(uri, self._bounds(uri)))

    def _fetch(self, uri: str, start: int, end: int, version: str) -> bytes:
        bounds = self._bounds(uri)
        if not 0 <= int(start) < int(end) <= int(start) + MAX_FETCH:
            raise PermissionError("a range of no bytes, or of too many")
        return bytes(readable_store(uri).fetch(uri, int(start), int(end), str(version), bounds))

    def _bounds(self, uri: str) -> Sources:
        """The settings by which a remote file is read: with the roots where it and its redirects must lie inside."""
        if not self._right_to(uri):
            return replace(self.sources, roots=())
        access.check_inside(uri, self.sources)
        return self.sources

    def _right_to(self, uri: str) -> bool:
        """Whether a file that the call may read must lie inside the roots.

        Raises:
            PermissionError: the call may not read it.
        """
        if uri not in self.reads and not self._is_own(uri):
            raise PermissionError(errno.EPERM, "the decoding process may not read it", uri)
        return self.reads.get(uri, False)

    def _is_own(self, uri: str) -> bool:
        """Whether a URI is one of the outputs that the call may write."""
        root = self.outputs.root if self.outputs else ""
        steps = uri.removeprefix(f"{root}/").split("/")
        named = any(step.startswith(each) for step in steps for each in self.names)
        return bool(root) and uri.startswith(f"{root}/") and named and not {"", ".", ".."} & {*steps}

    def _put(self, path: str, uri: str, folder: str) -> None:
        """Move what the process has finished to its place, first out of its reach: it can no longer change it."""
        steps = path.split("/")
        if self.outputs is None or not self._is_own(uri) or {"", ".", ".."} & {*steps}:
            raise PermissionError(errno.EPERM, "the decoding process may not write it", uri)
        kept = os.path.join(os.path.dirname(folder), f"{uuid.uuid4().hex}.done")
        _move_out(folder, steps, kept)
        try:
            if not _is_plain(kept):
                raise PermissionError(errno.EPERM, "no file, and no folder of files", uri)
            media_store.place(kept, uri, self.outputs.root, self.sources)
            self.written.add(uri)
        finally:
            shutil.rmtree(f"{kept}.before", ignore_errors=True)
            with suppress(OSError):
                shutil.rmtree(kept) if os.path.isdir(kept) else os.unlink(kept)


def of(*args: Any) -> Grant:
    """What a call with these arguments may reach.

    That is the files of paths and rows; and where an Env has outputs, files there with a row's key.
    """
    grant = Grant()
    for part in _parts(args):
        if isinstance(part, Env):
            grant.sources, grant.outputs = part.sources, part.outputs
        elif isinstance(part, Sources):
            grant.sources = part
        elif isinstance(part, RemotePath):
            grant.reads[part.uri] = False
            grant.sources = getattr(part.fetch, "keywords", {}).get("params", grant.sources)
        elif isinstance(part, str | os.PathLike):
            grant.reads[_place(os.fspath(part))] = False
        elif isinstance(part, dict):
            _add_row(grant, part)
    return grant


def _add_row(grant: Grant, row: Row) -> None:
    is_source = "spans" in row or row.get("is_source", "clip_id" not in row)
    grant.reads |= {_place(str(row[name])): bool(is_source) for name in READ if row.get(name)}
    spans = row.get("spans")
    spans = () if spans is None else spans  # of Spark an array, whose truth is undefined
    keys = [row.get("clip_id"), row.get("key"), *(span.get("clip_id") for span in spans)]
    grant.names |= {str(key) for key in keys if key}


def _parts(value: Any) -> Iterator[Any]:
    """The arguments of a call one by one, those of partial functions among them."""
    for each in value:
        if isinstance(each, partial):
            yield from _parts((*each.args, *each.keywords.values()))
        else:
            yield each


def _place(uri: str) -> str:
    """How the decoding process names the file behind a URI: by its path, or by the URI where it is remote."""
    if is_remote(uri):
        return uri
    with suppress(MediaError, ValueError):
        return local_path(uri)
    return uri


def _addresses(value: Any) -> Iterator[tuple[str, str]]:
    """The columns of a result that name files, with what they name."""
    if isinstance(value, dict):
        yield from ((name, str(value[name])) for name in ADDRESSES if value.get(name))
        yield from (pair for each in value.values() if isinstance(each, dict | list) for pair in _addresses(each))
    elif isinstance(value, list | tuple):
        yield from (pair for each in value if isinstance(each, dict | list | tuple) for pair in _addresses(each))


def _move_out(folder: str, steps: Sequence[str], target: str) -> None:
    """Move what lies below a process's own folder, by way of no link, which could lead to files of others.

    Raises:
        NotADirectoryError: there is a link on the way.
    """
    *above, name = steps
    handle = os.open(folder, FOLDER)
    try:
        for step in above:
            inner = os.open(step, FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        os.rename(name, target, src_dir_fd=handle)
    finally:
        os.close(handle)


def _is_plain(path: str) -> bool:
    """Whether a path is a regular file with no other name, or a folder of such files; never a link."""
    info = os.lstat(path)
    if stat.S_ISDIR(info.st_mode):
        return all(stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode) for entry in os.scandir(path))
    return stat.S_ISREG(info.st_mode)
