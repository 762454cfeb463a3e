"""An s3:// prefix -> the videos under it with their versions, as the store lists them: a page at a time, in no process all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from udfs import s3
from udfs.source import VIDEO_SUFFIXES, Params

MAX_PARTS = 10_000  # of a listing, at most


class Part(NamedTuple):
    """A piece of a listing: what begins with a prefix, or of that only what lies in no folder below."""

    bucket: str
    prefix: str
    flat: bool = False


def whole(uri: str) -> Part:
    """The listing that a uri stands for, as of a folder: s3://b/day names s3://b/day/v.mp4 and not s3://b/day2/v.mp4."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return Part(bucket, key if not key or key.endswith("/") else f"{key}/")


def parts(uri: str, params: Params) -> list[Part]:
    """A prefix as pieces that can be listed at the same time: its folders, and what lies beside them.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        s3.StoreError: no credentials, the wrong region, and the like.
    """
    top = whole(uri)
    pages = _pages(top._replace(flat=True), params)
    folders = list(islice((entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])), MAX_PARTS))
    if len(folders) in (0, 1, MAX_PARTS):
        return [top]
    return [top._replace(flat=True), *(Part(top.bucket, folder) for folder in folders)]


def videos(part: Part, params: Params) -> Iterator[pd.DataFrame]:
    """The videos of a piece, a page at a time: uri, source_version as of `s3.stat`, changed_s in Unix time.

    Raises:
        What `parts` raises.
    """
    for page in _pages(part, params):
        found = [entry for entry in page.get("Contents", []) if entry["Key"].lower().endswith(VIDEO_SUFFIXES)]
        if found:
            uris = [f"s3://{part.bucket}/{entry['Key']}" for entry in found]
            versions = [s3.version(entry["Size"], entry.get("ETag", "")) for entry in found]
            times = [entry["LastModified"].timestamp() for entry in found]
            yield pd.DataFrame({"uri": uris, "source_version": versions, "changed_s": times})


def rows(batches: Iterable[pd.DataFrame], params: Params) -> Iterator[pd.DataFrame]:
    """Batches of pieces -> the videos in them."""
    for batch in batches:
        for part in batch.to_dict("records"):
            yield from videos(Part(part["bucket"], part["prefix"], bool(part["flat"])), params)


def _pages(part: Part, params: Params) -> Iterator[dict[str, Any]]:
    return s3.pages({"Bucket": part.bucket, "Prefix": part.prefix} | ({"Delimiter": "/"} if part.flat else {}), params)
