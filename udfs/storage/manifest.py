"""Manifests: the kind of each, the uris that it names, and counts of what was left out."""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.errors import MediaError, StoreError
from udfs.storage import folder_listing as folders
from udfs.storage import media_store, omissions, table_text
from udfs.storage.settings import Params as Sources
from udfs.storage.stores import readable_store
from udfs.storage.uris import EDGES, VIDEO_SUFFIXES, absolute_uri, existing_uri, is_remote, is_web, local_path, path_uri, redacted

T = TypeVar("T")
Kind = Literal["folder", "glob", "video", "prefix", "list", "jsonl", "csv", "parquet", "delta"]
HEAD_BYTES = 1024
MAX_TEXT_BYTES = 1 << 28

SPARK_READS: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
SPARK_READS |= {".csv": "csv", ".tsv": "csv", ".tab": "csv"}
# Names under which data sets have the column `uri`; case, blanks and punctuation do not count.
# fmt: off
ALIASES = (
    "url", "path", "file", "filename", "filepath", "video", "src", "source", "location", "address", "key", "s3uri",
    "videopath", "videofile", "videofilename", "videofilepath", "videouri", "videourl", "videolink", "contenturl", "mediaurl",
    "fullpath", "localpath", "filelocation", "fileurl", "fileuri",
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
    """Uris, each once and in a fixed order, and how many files or entries were left out by reason."""

    uris: list[str]
    left_out: Counter[str]


class ManifestError(Exception):
    """A manifest that names nothing to work on; its text is one line."""


def kind(manifest: str, sources: Sources) -> Kind:
    """What a manifest is, by its name and its first bytes; jsonl, csv, parquet and delta are for Spark to read.

    Raises:
        ManifestError: there is nothing of that name, or it is none of these.
    """
    if not manifest.strip():
        raise ManifestError("an empty name: give a folder, a glob, a video or a list")
    if is_remote(manifest):
        return _remote_kind(manifest, sources)
    path, suffix = _local(manifest), Path(manifest).suffix.lower()
    if not os.path.exists(path):
        if glob.has_magic(path):
            return "glob"
        raise ManifestError(f"{manifest}: no such file or folder")
    if os.path.isdir(path):
        return "delta" if os.path.isdir(os.path.join(path, "_delta_log")) else SPARK_READS.get(suffix, "folder")
    if not stat.S_ISREG(os.stat(path).st_mode):  # it is read twice, and by other processes
        raise ManifestError(f"{manifest}: a pipe or a device, not a regular file: write it to a file first")
    return _of_file(manifest, suffix, lambda: _head(path))


def listing(manifest: str, sources: Sources) -> Listing:
    """The uris that a folder, glob, video or JSON list names.

    Raises:
        ManifestError: there are none, or the list is none.
    """
    what = kind(manifest, sources)
    if what == "list":
        found = _unique(_listed(manifest, sources))
    elif is_remote(manifest):
        found = _unique([absolute_uri(manifest)])
    elif what == "folder":
        found = _answered(manifest, lambda: _in_folder(_local(manifest)))
    elif what == "glob":
        found = _matching(_local(manifest))
    else:
        found = _unique([path_uri(_local(manifest))])
    if not found.uris:
        raise ManifestError(_nothing(manifest, found.left_out))
    return found


def column(manifest: str, uri_column: str, names: Sequence[str]) -> str:
    """The column of a table that holds the uris.

    Raises:
        ManifestError: there is none; the text names the columns that may be meant.
    """
    if found := table_text.column_named(uri_column, names):
        return found
    alike = [name for name in names if re.sub("[^a-z0-9]", "", name.casefold()) in ALIASES]
    if alike:
        meant = " or ".join(f"`{name}`" for name in alike)
        raise ManifestError(f"{shown(manifest)}: no column {uri_column}, but {meant}: name it uri, or set manifest.uri_column")
    raise ManifestError(f"{shown(manifest)}: no column {uri_column}, only {', '.join(names) or 'none'}")


def uri(given: str | None, folder: str) -> str | None:
    """The normal form of a row's uri, as in `source.absolute` and `source.existing_uri`; None for a row without one."""
    if given is None or not given.strip(EDGES):
        return None
    return existing_uri(absolute_uri(given, folder))


def parts(manifest: str, sources: Sources) -> list[tuple[str, str, bool, int]]:
    """The pieces in which an s3:// prefix is to be listed.

    Raises:
        ManifestError: there is no video in it.
    """
    from udfs.storage import s3_listing  # with boto3, which most runs do not need

    def found() -> list[tuple[str, str, bool, int]]:
        pieces: list[tuple[str, str, bool, int]] = [*s3_listing.parts(manifest, sources)]
        left = Counter[str]()
        for found in (page for piece in pieces for page in s3_listing.videos(s3_listing.Part(*piece), sources)):
            if found["uri"].notna().any():
                return pieces
            left.update(dict(zip(found["left_out"], found["number"], strict=True)))
        raise ManifestError(_nothing(manifest, left))

    return _answered(manifest, found)


def text(manifest: str, sources: Sources) -> str:
    """A JSON or CSV file, wherever it lies.

    Raises:
        ManifestError: it cannot be read, is neither UTF-8 nor UTF-16, or is over MAX_TEXT_BYTES on another machine.
    """

    def read() -> bytes:
        if not is_remote(manifest):
            return Path(_local(manifest)).read_bytes()
        store = readable_store(manifest)
        found = store.stat(manifest, sources)
        if found.size > MAX_TEXT_BYTES:
            raise ManifestError(f"{shown(manifest)}: {found.size} bytes, more than the {MAX_TEXT_BYTES} that are read at once")
        data: bytes = store.fetch(manifest, 0, found.size, found.version, sources) if found.size else b""
        return data

    try:
        return table_text.decode(_answered(manifest, read))
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e


def folder(manifest: str) -> str:
    """Where relative uris of a manifest begin: its own folder, wherever the job was started."""
    if not is_remote(manifest):
        return os.path.dirname(_local(manifest)) + "/"
    path = manifest.partition("?")[0] if is_web(manifest) else manifest
    return path.rstrip("/").rpartition("/")[0] + "/"


def shown(manifest: str) -> str:
    """A manifest's name for people to read, without passwords and signatures."""
    return redacted(manifest)


def _nothing(manifest: str, left_out: Counter[str]) -> str:
    omitted = omissions.summary(0, left_out).partition(", ")[2] + ": " if left_out else ""
    return f"{shown(manifest)}: no video there ({omitted}looked for {' '.join(VIDEO_SUFFIXES)})"


def _remote_kind(manifest: str, sources: Sources) -> Kind:
    web = is_web(manifest)
    path = manifest.partition("?")[0].partition("#")[0] if web else manifest
    suffix = Path(path.rstrip("/")).suffix.lower()
    if not web and (path.endswith("/") or suffix not in (*SPARK_READS, *VIDEO_SUFFIXES)):
        return _remote_folder(manifest, suffix, sources)
    found = _answered(manifest, lambda: readable_store(manifest).stat(manifest, sources))

    def head() -> bytes:
        data: bytes = readable_store(manifest).fetch(manifest, 0, min(found.size, HEAD_BYTES), found.version, sources)
        return data

    what = _of_file(manifest, suffix, lambda: _answered(manifest, head) if found.size else b"")
    if web and what == "parquet":
        raise ManifestError(f"{shown(manifest)}: Parquet is not read over http; copy it to a folder or to s3://")
    return what


def _remote_folder(manifest: str, suffix: str, sources: Sources) -> Kind:
    def is_table() -> bool:
        return media_store.holds(f"{manifest.rstrip('/')}/_delta_log", sources)

    return "delta" if _answered(manifest, is_table) else SPARK_READS.get(suffix, "prefix")


def _of_file(manifest: str, suffix: str, head: Callable[[], bytes]) -> Kind:
    if suffix == ".json" and _begins_as_list(head()):
        return "list"
    if suffix in VIDEO_SUFFIXES:
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
        return local_path(manifest)
    except MediaError as e:
        raise ManifestError(f"{manifest}: {e.message}") from e


def _in_folder(path: str) -> Listing:
    found, left_out = folders.videos(path)
    return Listing([*map(path_uri, found)], left_out)


def _matching(pattern: str) -> Listing:
    """The files that match a pattern; a file reached through several linked folders counts once, by its shortest path."""
    names = [name for name in glob.iglob(pattern, recursive=True) if not os.path.isdir(name)]
    real, unique = cache(os.path.realpath), dict[str, str]()
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        place, base = os.path.split(name)
        unique.setdefault(os.path.join(real(place), base), name)
    return Listing(sorted(map(path_uri, unique.values())), +Counter({omissions.LINK: len(names) - len(unique)}))


def _unique(uris: Iterable[str]) -> Listing:
    entries = list(uris)
    unique = list(dict.fromkeys(entries))
    return Listing(unique, +Counter({omissions.DUPLICATE: len(entries) - len(unique)}))


def _begins_as_list(head: bytes) -> bool:
    mark = table_text.MARKS.get(head[:3]) or table_text.MARKS.get(head[:2], "utf-8")
    return head.decode(mark, errors="replace").lstrip().startswith("[")


def _head(path: str) -> bytes:
    with open(path, "rb") as f:
        return f.read(HEAD_BYTES)


def _listed(manifest: str, sources: Sources) -> list[str]:
    try:
        entries = json.loads(text(manifest, sources))
    except RecursionError as e:
        raise ManifestError(f"{shown(manifest)}: nested too deeply for a list of addresses") from e
    except ValueError as e:
        raise ManifestError(f"{shown(manifest)}: {e}") from e
    uris = []
    for i, entry in enumerate(entries):
        found = uri(entry, folder(manifest)) if isinstance(entry, str) and not LONE_SURROGATE.search(entry) else None
        if found is None:
            raise ManifestError(f"{shown(manifest)}: entry {i} of the list is no uri: {json.dumps(entry)[:80]}")
        uris.append(found)
    return uris
