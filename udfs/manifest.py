"""A manifest -> the uris it names, or what Spark is to read it as."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from udfs import source
from udfs.errors import MediaError

Kind = Literal["folder", "glob", "video", "list", "jsonl", "csv", "parquet", "delta"]

SPARK_READS: dict[str, Kind] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # no bytes of a name; the rest stand for undecodable ones


class ManifestError(ValueError):
    """A manifest that names nothing to work on; its text is one line."""


def kind(manifest: str) -> Kind:
    """What a manifest is, by its name and its first bytes; jsonl, csv, parquet and delta are for Spark to read.

    Raises:
        ManifestError: there is no such file, or it is none of these.
    """
    suffix = Path(manifest).suffix.lower()
    if "://" in manifest and not manifest.startswith("file://"):
        if suffix in SPARK_READS:
            return SPARK_READS[suffix]
        raise ManifestError(f"{manifest}: only .jsonl, .csv and .parquet manifests are read from there; folders must be local")
    path = _local(manifest)
    if not os.path.exists(path):
        if glob.has_magic(path):
            return "glob"
        raise ManifestError(f"{manifest}: no such file or folder")
    if os.path.isdir(path):
        return "delta" if os.path.isdir(os.path.join(path, "_delta_log")) else SPARK_READS.get(suffix, "folder")
    if suffix == ".json" and _begins_list(path):
        return "list"
    if suffix in source.VIDEO_SUFFIXES:
        return "video"
    if suffix in SPARK_READS:
        return SPARK_READS[suffix]
    raise ManifestError(f"{manifest}: neither a video nor a manifest by its name ({', '.join(SPARK_READS)})")


def listing(manifest: str) -> list[str]:
    """The uris that a folder, glob, video or JSON list names, each once, in a fixed order.

    Raises:
        ManifestError: there are none, or the list is none.
    """
    what, path = kind(manifest), _local(manifest)
    if what == "list":
        found = _listed(manifest, path)
    elif what == "folder":
        found = sorted(_walk(manifest, path))
    elif what == "glob":
        found = sorted(name for name in glob.iglob(path, recursive=True) if not os.path.isdir(name))
    else:
        found = [path]
    uris = list(dict.fromkeys(map(source.absolute, found)))
    if not uris:
        raise ManifestError(f"{manifest}: no video there (looked for {' '.join(source.VIDEO_SUFFIXES)})")
    return uris


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


def _begins_list(path: str) -> bool:
    with open(path, encoding="utf-8-sig", errors="replace") as f:
        return f.read(1024).lstrip().startswith("[")


def _listed(manifest: str, path: str) -> list[str]:
    try:
        uris = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as e:  # not JSON, or not UTF-8
        raise ManifestError(f"{manifest}: {e}") from e
    for i, uri in enumerate(uris):
        if not isinstance(uri, str) or not uri or LONE_SURROGATE.search(uri):
            raise ManifestError(f"{manifest}: entry {i} of the list is no uri: {json.dumps(uri)[:80]}")
    # A relative path is meant from the list's own folder, wherever the job was started.
    return [source.absolute(uri, os.path.dirname(path)) for uri in uris]
