"""Choose the store of a remote URI: S3, or a web server, which is only read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from udfs.core.errors import StoreError
from udfs.storage import parent_files
from udfs.storage.remote_file import Stat
from udfs.storage.settings import Params
from udfs.storage.uris import WEB, split_scheme


class ReadableStore(Protocol):
    """A store whose files can be read: the functions of s3 and http_source that have these names."""

    def stat(self, uri: str, params: Params) -> Stat:
        """Size and version of a file."""

    def fetch(self, uri: str, start: int, end: int, version: str, params: Params) -> bytes:
        """The bytes [start, end) of a version of a file."""


class WritableStore(ReadableStore, Protocol):
    """A store whose files can also be written, listed and deleted: the functions of s3 that have these names."""

    def put(self, uri: str, path: str, params: Params) -> None:
        """Upload a file."""

    def check(self, uri: str, params: Params) -> None:
        """Raise MediaError or StoreError unless the store answers and lets us in."""

    def holds(self, uri: str, params: Params) -> bool:
        """Whether there is a file below a URI."""

    def folders(self, uri: str, params: Params) -> list[str]:
        """URIs of the folders directly below a URI."""

    def files(self, uri: str, params: Params) -> Iterator[tuple[str, int, float]]:
        """URI, size in bytes and time of change (seconds of Unix time) of each file below a URI."""

    def remove(self, uris: Iterable[str], params: Params) -> list[str]:
        """Delete files; the URIs of those deleted."""

    def abort_uploads(self, uri: str, older_than_s: float, params: Params) -> None:
        """Abort unfinished uploads below a URI that are older than that."""

    def remove_old(self, uri: str, older_than_s: float, params: Params) -> None:
        """Delete files below a URI that are older than that."""


def readable_store(uri: str) -> ReadableStore:
    """The store that a remote URI is read from; imported here because boto3 takes long to import.

    The decoding process reads through its parent.
    """
    if parent_files.connected():
        return parent_files
    if split_scheme(uri)[0] in WEB:
        from udfs.storage import http_source

        return http_source
    return writable_store(uri)


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of a version of a remote file, by the store that this process reads it from."""
    return readable_store(uri).fetch(uri, start, end, version, params)


def writable_store(uri: str) -> WritableStore:
    """The store that a remote URI is written to.

    Raises:
        StoreError: the URI is a web address.
    """
    if split_scheme(uri)[0] in WEB:
        raise StoreError("http(s) addresses can only be read: give a folder or s3://bucket/prefix")
    from udfs.storage import s3

    return s3
