"""A manifest -> the uris it names, or what Spark is to read it as."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from udfs import source, store
from udfs.errors import MediaError, StoreError
from udfs.source import Params
from udfs.weblines import redacted

T = TypeVar("T")
Kind = Literal["folder", "glob", "video", "prefix", "list", "jsonl", "csv", "parquet", "delta"]
HEAD_BYTES = 1024
MAX_TEXT_BYTES = 1 << 28

SPARK_READS: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # no bytes of a name; the rest stand for undecodable ones


class ManifestError(Exception):
    """A manifest that names nothing to work on; its text is one line."""


def kind(manifest: str, params: Params) -> Kind:
    """What a manifest is, by its name and its first bytes; jsonl, csv, parquet and delta are for Spark to read.

    Raises:
        ManifestError: there is nothing of that name, or it is none of these.
    """
    if source.is_remote(manifest):
        return _remote_kind(manifest, params)
    path, suffix = _local(manifest), Path(manifest).suffix.lower()
    if not os.path.exists(path):
        if glob.has_magic(path):
            return "glob"
        raise ManifestError(f"{manifest}: no such file or folder")
    if os.path.isdir(path):
        return "delta" if os.path.isdir(os.path.join(path, "_delta_log")) else SPARK_READS.get(suffix, "folder")
    return _of_file(manifest, suffix, lambda: _head(path))


def listing(manifest: str, params: Params) -> list[str]:
    """The uris that a folder, glob, video or JSON list names, each once, in a fixed order.

    Raises:
        ManifestError: there are none, or the list is none.
    """
    what = kind(manifest, params)
    if what == "list":
        found = _listed(manifest, params)
    elif source.is_remote(manifest):
        found = [manifest]
    elif what == "folder":
        found = sorted(_walk(manifest, _local(manifest)))
    elif what == "glob":
        found = sorted(name for name in glob.iglob(_local(manifest), recursive=True) if not os.path.isdir(name))
    else:
        found = [_local(manifest)]
    uris = list(dict.fromkeys(map(source.absolute, found)))
    if not uris:
        raise ManifestError(_nothing(manifest))
    return uris


def parts(manifest: str, params: Params) -> list[tuple[str, str, bool]]:
    """The pieces in which an s3:// prefix is to be listed.

    Raises:
        ManifestError: there is no video in it.
    """
    from udfs import prefix  # with boto3, which most runs do not need

    def found() -> list[tuple[str, str, bool]]:
        pieces: list[tuple[str, str, bool]] = [*prefix.parts(manifest, params)]
        if not any(True for piece in pieces for _ in prefix.videos(prefix.Part(*piece), params)):
            raise ManifestError(_nothing(manifest))
        return pieces

    return _answered(manifest, found)


def text(manifest: str, params: Params) -> str:
    """A JSON or CSV file, wherever it lies.

    Raises:
        ManifestError: it cannot be read, is no UTF-8, or is over MAX_TEXT_BYTES on another machine.
    """

    def read() -> bytes:
        if not source.is_remote(manifest):
            return Path(_local(manifest)).read_bytes()
        store = source.transport(manifest)
        found = store.stat(manifest, params)
        if found.size > MAX_TEXT_BYTES:
            raise ManifestError(f"{shown(manifest)}: {found.size} bytes, more than the {MAX_TEXT_BYTES} that are read at once")
        data: bytes = store.fetch(manifest, 0, found.size, found.version, params) if found.size else b""
        return data

    try:
        return _answered(manifest, read).decode("utf-8-sig")
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e


def folder(manifest: str) -> str:
    """Where relative uris of a manifest begin: its own folder, wherever the job was started."""
    if not source.is_remote(manifest):
        return os.path.dirname(_local(manifest)) + "/"
    path = manifest.partition("?")[0] if source.is_web(manifest) else manifest
    return path.rstrip("/").rpartition("/")[0] + "/"


def shown(manifest: str) -> str:
    """A manifest's name for people to read, without passwords and signatures."""
    return redacted(manifest) if source.is_web(manifest) else manifest


def _nothing(manifest: str) -> str:
    return f"{shown(manifest)}: no video there (looked for {' '.join(source.VIDEO_SUFFIXES)})"


def _remote_kind(manifest: str, params: Params) -> Kind:
    web = source.is_web(manifest)
    path = manifest.partition("?")[0].partition("#")[0] if web else manifest
    suffix = Path(path.rstrip("/")).suffix.lower()
    if not web and (path.endswith("/") or suffix not in (*SPARK_READS, *source.VIDEO_SUFFIXES)):
        return _remote_folder(manifest, suffix, params)
    found = _answered(manifest, lambda: source.transport(manifest).stat(manifest, params))

    def head() -> bytes:
        data: bytes = source.transport(manifest).fetch(manifest, 0, min(found.size, HEAD_BYTES), found.version, params)
        return data

    what = _of_file(manifest, suffix, lambda: _answered(manifest, head) if found.size else b"")
    if web and what == "parquet":
        raise ManifestError(f"{shown(manifest)}: Parquet is not read over http; copy it to a folder or to s3://")
    return what


def _remote_folder(manifest: str, suffix: str, params: Params) -> Kind:
    def is_table() -> bool:
        return store.holds(f"{manifest.rstrip('/')}/_delta_log", params)

    return "delta" if _answered(manifest, is_table) else SPARK_READS.get(suffix, "prefix")


def _of_file(manifest: str, suffix: str, head: Callable[[], bytes]) -> Kind:
    if suffix == ".json" and head().decode("utf-8-sig", errors="replace").lstrip().startswith("["):
        return "list"
    if suffix in source.VIDEO_SUFFIXES:
        return "video"
    if suffix in SPARK_READS:
        return SPARK_READS[suffix]
    raise ManifestError(f"{shown(manifest)}: neither a video nor a manifest by its name ({', '.join(SPARK_READS)})")


def _answered(manifest: str, ask: Callable[[], T]) -> T:
    """What a file or a store says, or in one line why it says nothing."""
    try:
        return ask()
    except MediaError as e:
        said = "no such bucket" if "NoSuchBucket" in e.message else e.message
        raise ManifestError(f"{shown(manifest)}: {said}") from e
    except OSError as e:
        raise ManifestError(f"{manifest}: {e.strerror}") from e
    except StoreError as e:  # which names the bucket
        raise ManifestError(str(e)) from e


def _local(manifest: str) -> str:
    try:
        return source.local_path(manifest)
    except MediaError as e:
        raise ManifestError(f"{manifest}: {e.message}") from e


def _walk(manifest: str, top: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise ManifestError(f"{manifest}: {error.filename}: {error.strerror}") from error

    for folder, _, names in os.walk(top, onerror=refuse):
        yield from (os.path.join(folder, name) for name in names if name.lower().endswith(source.VIDEO_SUFFIXES))


def _head(path: str) -> bytes:
    with open(path, "rb") as f:
        return f.read(HEAD_BYTES)


def _listed(manifest: str, params: Params) -> list[str]:
    try:
        uris = json.loads(text(manifest, params))
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e
    for i, uri in enumerate(uris):
        if not isinstance(uri, str) or not uri or LONE_SURROGATE.search(uri):
            raise ManifestError(f"{shown(manifest)}: entry {i} of the list is no uri: {json.dumps(uri)[:80]}")
    return [source.absolute(uri, folder(manifest)) for uri in uris]
