"""Find out what a manifest is, list the URIs that it names, and count what was left out."""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import MediaError, StoreError
from udfs.core.signed_addresses import unsigned
from udfs.storage import access, folder_listing, glob_paths, media_store, omissions, table_text
from udfs.storage.remote_file import AnyPath, RemotePath, open_path, read_range
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import (
    EDGES,
    VIDEO_SUFFIXES,
    absolute_uri,
    existing_uri,
    is_remote,
    is_web,
    local_path,
    path_uri,
    redacted,
)

T = TypeVar("T")
Kind = Literal["folder", "glob", "video", "prefix", "list", "jsonl", "csv", "parquet", "delta"]
HEAD_BYTES = 1024
MAX_TEXT_BYTES = 1 << 28
AS_LINES = "write it as JSON lines (.jsonl), CSV or Parquet"
BLANKS = re.compile(r"[ \t\n\r]*")  # of JSON

SPARK_READS: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
SPARK_READS |= {".csv": "csv", ".tsv": "csv", ".tab": "csv"}
LINES = (".txt", ".lst")  # of a list with one address per line
# Names under which data sets have the column `uri`; case, blanks and punctuation do not count.
# fmt: off
ALIASES = (
    "url", "path", "file", "filename", "filepath", "video", "src", "source", "location", "address", "key", "s3uri",
    "videopath", "videofile", "videofilename", "videofilepath", "videouri", "videourl", "videolink", "contenturl",
    "mediaurl", "fullpath", "localpath", "filelocation", "fileurl", "fileuri",
)
# fmt: on
LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # no bytes of a name; the rest stand for undecodable ones


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[manifest]"""

    uri_column: Annotated[
        str, Field(min_length=1, description="the column of a table or list of rows that holds the address")
    ] = "uri"


class Listing(NamedTuple):
    """Addresses, each file once and in a fixed order, and how many files or entries were left out by reason."""

    uris: list[str]  # with passwords and signatures
    left_out: Counter[str]


class Manifest(NamedTuple):
    """What a manifest is and, unless Spark reads it, what it lists."""

    kind: Kind
    listing: Listing | None = None  # of a folder, glob, video or list
    parts: Sequence[tuple[str, str, bool, int]] = ()  # the parts in which an s3:// prefix is listed: s3_listing.Part


class ManifestError(Exception):
    """A manifest cannot be read, or has no video. Its text is one line."""


def examine(manifest: str, sources: Sources) -> Manifest:
    """Find out what a manifest is, and list a folder, glob, video or JSON list.

    Spark reads tables, and lists prefixes.

    Raises:
        ManifestError: nothing has that name, it is none of these, or there is no video in it.
    """
    kind, path = _identify(manifest, sources)
    if kind == "prefix":
        return Manifest(kind, parts=_parts(manifest, sources))
    if kind == "folder":
        listing = _answer(manifest, lambda: _in_folder(_local(manifest)))
    elif kind == "glob":
        listing = _matching(_local(manifest))
    elif kind == "list":
        listing = _unique(_listed(manifest, path))
    elif kind == "video":
        listing = _unique([absolute_uri(manifest) if is_remote(manifest) else path_uri(_local(manifest))])
    else:
        return Manifest(kind)
    if not listing.uris:
        raise ManifestError(_no_video(manifest, listing.left_out))
    return Manifest(kind, listing)


def column(manifest: str, uri_column: str, names: Sequence[str]) -> str:
    """The column of a table that holds the URIs.

    Raises:
        ManifestError: there is none; the text names the columns that may be meant.
    """
    if name := table_text.column_named(uri_column, names):
        return name
    alike = [name for name in names if re.sub("[^a-z0-9]", "", name.casefold()) in ALIASES]
    if alike:
        meant = " or ".join(f"`{name}`" for name in alike)
        raise ManifestError(
            f"{shown(manifest)}: no column {uri_column}, but {meant}: name it uri, or set manifest.uri_column"
        )
    is_text = SPARK_READS.get(Path(manifest).suffix.lower()) == "csv"
    first = " (its first line names the columns)" if is_text else ""
    raise ManifestError(f"{shown(manifest)}: no column {uri_column}, only {', '.join(names) or 'none'}{first}")


def uri(written: str | None, folder: str) -> str | None:
    """The normal form of a row's URI, with password and signature: `absolute_uri` of `existing_uri`.

    None for a row without one.
    """
    if written is None or not written.strip(EDGES):
        return None
    return existing_uri(absolute_uri(written, folder))


def text(manifest: str, sources: Sources) -> str:
    """The text of a JSON or CSV file, local or remote.

    Raises:
        ManifestError: it cannot be read, is neither UTF-8 nor UTF-16, or is remote and over
            MAX_TEXT_BYTES.
    """
    path = _answer(manifest, lambda: access.remote_path(manifest, sources)) if is_remote(manifest) else _local(manifest)
    return _text(manifest, path)


def folder(manifest: str) -> str:
    """The folder at which relative URIs of a manifest begin: its own, wherever the job was started."""
    if not is_remote(manifest):
        return os.path.dirname(_local(manifest)) + "/"
    path = manifest.partition("?")[0] if is_web(manifest) else manifest
    return path.rstrip("/").rpartition("/")[0] + "/"


def shown(manifest: str) -> str:
    """A manifest's name for people to read, without passwords and signatures."""
    return redacted(manifest)


def _no_video(manifest: str, left_out: Counter[str]) -> str:
    omitted = omissions.summary(0, left_out).partition(", ")[2] + ": " if left_out else ""
    return f"{shown(manifest)}: no video there ({omitted}looked for {' '.join(VIDEO_SUFFIXES)})"


def _identify(manifest: str, sources: Sources) -> tuple[Kind, AnyPath]:
    """The kind of a manifest by its name and its first bytes, and its path; the name stands for a remote folder."""
    if not manifest.strip():
        raise ManifestError("an empty name: give a folder, a glob, a video or a list")
    if is_remote(manifest):
        return _identify_remote(manifest, sources)
    path, suffix = _local(manifest), Path(manifest).suffix.lower()
    if not os.path.exists(path):
        if glob.has_magic(path):
            return "glob", path
        raise ManifestError(f"{manifest}: no such file or folder")
    if os.path.isdir(path):
        is_delta = os.path.isdir(os.path.join(path, "_delta_log"))
        return "delta" if is_delta else SPARK_READS.get(suffix, "folder"), path
    if not stat.S_ISREG(os.stat(path).st_mode):  # it is read twice, and by other processes
        raise ManifestError(f"{manifest}: a pipe or a device, not a regular file: write it to a file first")
    return _file_kind(manifest, suffix, path), path


def _identify_remote(manifest: str, sources: Sources) -> tuple[Kind, AnyPath]:
    web = is_web(manifest)
    name = manifest.partition("?")[0].partition("#")[0] if web else manifest
    suffix = Path(name.rstrip("/")).suffix.lower()
    if not web and (name.endswith("/") or suffix not in (*SPARK_READS, *LINES, *VIDEO_SUFFIXES)):
        return _remote_folder(manifest, suffix, sources), manifest
    path = _answer(manifest, lambda: _remote_file(manifest, suffix, sources))
    if path is None:
        return _remote_folder(manifest, suffix, sources), manifest
    kind = _file_kind(manifest, suffix, path)
    if web and kind == "parquet":
        raise ManifestError(f"{shown(manifest)}: Parquet is not read over http; copy it to a folder or to s3://")
    return kind, path


def _remote_file(manifest: str, suffix: str, sources: Sources) -> RemotePath | None:
    """The path of a remote file; None for a folder, as Spark writes a table under any name."""
    try:
        return access.remote_path(manifest, sources)
    except MediaError as e:
        may_be_folder = e.code == "NOT_FOUND" and suffix in SPARK_READS and not is_web(manifest)
        if may_be_folder and media_store.holds(manifest, sources):
            return None
        raise


def _remote_folder(manifest: str, suffix: str, sources: Sources) -> Kind:
    def is_table() -> bool:
        return media_store.holds(f"{manifest.rstrip('/')}/_delta_log", sources)

    return "delta" if _answer(manifest, is_table) else SPARK_READS.get(suffix, "prefix")


def _file_kind(manifest: str, suffix: str, path: AnyPath) -> Kind:
    if suffix == ".json" and _begins_as_list(_answer(manifest, lambda: _head(path))):
        return "list"
    if suffix in LINES:
        return "list"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    if suffix in SPARK_READS:
        return SPARK_READS[suffix]
    known = ", ".join((*SPARK_READS, *LINES))
    raise ManifestError(f"{shown(manifest)}: neither a video nor a manifest by its name ({known})")


def _parts(manifest: str, sources: Sources) -> list[tuple[str, str, bool, int]]:
    """The parts in which an s3:// prefix is listed; at least one of them has a video."""
    from udfs.storage import s3_listing  # with boto3, which most runs do not need

    def parts_with_videos() -> list[tuple[str, str, bool, int]]:
        parts: list[tuple[str, str, bool, int]] = [*s3_listing.parts(manifest, sources)]
        left_out = Counter[str]()
        for page in (page for part in parts for page in s3_listing.videos(s3_listing.Part(*part), sources)):
            if page["uri"].notna().any():
                return parts
            left_out.update(dict(zip(page["left_out"], page["number"], strict=True)))
        raise ManifestError(_no_video(manifest, left_out))

    return _answer(manifest, parts_with_videos)


def _answer(manifest: str, ask: Callable[[], T]) -> T:
    """What a file or a store answers; its error becomes a ManifestError."""
    try:
        return ask()
    except MediaError as e:
        reason = "no such bucket" if "NoSuchBucket" in e.message else e.message
        raise ManifestError(f"{shown(manifest)}: {reason}") from e
    except OSError as e:
        raise ManifestError(f"{manifest}: {e.strerror}") from e
    except StoreError as e:  # its text names the bucket
        raise ManifestError(str(e)) from e


def _local(manifest: str) -> str:
    try:
        return local_path(manifest)
    except MediaError as e:
        raise ManifestError(f"{manifest}: {e.message}") from e


def _in_folder(path: str) -> Listing:
    videos, left_out = folder_listing.videos(path)
    return Listing([*map(path_uri, videos)], left_out)


def _matching(pattern: str) -> Listing:
    """The files that match a pattern.

    A file that is reached through several linked folders counts once, by its shortest path.
    """
    names = [name for name in glob_paths.expand(pattern) if not os.path.isdir(name)]
    real, unique = cache(os.path.realpath), dict[str, str]()
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        place, base = os.path.split(name)
        unique.setdefault(os.path.join(real(place), base), name)
    return Listing(sorted(map(path_uri, unique.values())), +Counter({omissions.LINK: len(names) - len(unique)}))


def _unique(uris: Iterable[str]) -> Listing:
    entries = list(uris)
    unique = list({unsigned(entry): entry for entry in entries}.values())
    return Listing(unique, +Counter({omissions.DUPLICATE: len(entries) - len(unique)}))


def _begins_as_list(head: bytes) -> bool:
    mark = table_text.MARKS.get(head[:3]) or table_text.MARKS.get(head[:2], "utf-8")
    return head.decode(mark, errors="replace").lstrip().startswith("[")


def _head(path: AnyPath) -> bytes:
    """The first bytes.

    Of a remote file they come with a block that is cached, in which most lists lie completely.
    """
    with open_path(path) as f:
        return f.read(HEAD_BYTES)


def _text(manifest: str, path: AnyPath) -> str:
    num_bytes = access.stat(path).size
    if num_bytes > MAX_TEXT_BYTES:
        raise ManifestError(
            f"{shown(manifest)}: {num_bytes} bytes, more than the {MAX_TEXT_BYTES} that are read at once: {AS_LINES}"
        )
    try:
        return table_text.decode(_answer(manifest, lambda: read_range(path, 0, num_bytes) if num_bytes else b""))
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e


def _listed(manifest: str, path: AnyPath) -> list[str]:
    uris, above = list[str](), folder(manifest)
    text = _text(manifest, path)
    is_json = text.lstrip().startswith("[")
    try:
        for entry in _entries(text) if is_json else filter(str.strip, table_text.LINE_END.split(text)):
            normal = None if LONE_SURROGATE.search(entry) else uri(entry, above)
            if normal is None:
                raise ValueError(f"entry {len(uris)} of the list is no uri: {json.dumps(entry)[:80]}")
            uris.append(normal)
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e
    return uris


def _entries(text: str) -> Iterator[str]:
    """The entries of a JSON list of texts, one after the other: no memory is taken for anything else.

    Raises:
        ValueError: it is no such list.
    """
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    for number in itertools.count():
        at = _next(text, at)
        if number == 0 and text.startswith("]", at):
            break
        if at == len(text):
            raise ValueError(f"the list ends within, after {number} entries")
        if not text.startswith('"', at):
            shown = json.dumps(text[at : at + 60])
            raise ValueError(f"entry {number} of the list is no uri: {shown}")
        entry, at = decoder.raw_decode(text, at)
        yield str(entry)
        at = _next(text, at)
        if text.startswith("]", at):
            break
        if not text.startswith(",", at):
            raise ValueError(f"no comma or ] after entry {number} of the list")
        at += 1
    if (at := _next(text, at + 1)) < len(text):
        raise ValueError(f"more after the list: {json.dumps(text[at : at + 60])}")


def _next(text: str, at: int) -> int:
    """The place of the next character of a JSON text that is no blank."""
    match = BLANKS.match(text, at)
    return match.end() if match else at
