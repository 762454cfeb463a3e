"""List the videos below an s3:// prefix with their versions, and count the objects left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from udfs.storage import omissions, s3
from udfs.storage.settings import Params
from udfs.storage.uris import VIDEO_SUFFIXES

MAX_PARTS = 10_000  # of a listing, at most
COLUMNS = {"uri": "object", "source_version": "object", "changed_s": "float64", "left_out": "object", "number": "int64"}


class Part(NamedTuple):
    """A part of a listing: all objects whose keys begin with a prefix.

    If `flat`, only those in no folder below it.
    """

    bucket: str
    prefix: str
    flat: bool = False
    top: int = 0  # characters of the manifest's own prefix: only folders after it are checked for hidden names


def whole(uri: str) -> Part:
    """The listing of a URI, which is taken for a folder: s3://b/day names s3://b/day/v.mp4 and not s3://b/day2/v.mp4."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    prefix = key if not key or key.endswith("/") else f"{key}/"
    return Part(bucket, prefix, top=len(prefix))


def parts(uri: str, params: Params) -> list[Part]:
    """Divide a prefix into parts that can be listed at the same time: its folders, and the objects beside them.

    Raises:
        MediaError: NOT_FOUND, DENIED or UNREACHABLE.
        StoreError: no credentials, the wrong region, and the like.
    """
    top = whole(uri)
    pages = _pages(top._replace(flat=True), params)
    folders = list(islice((entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])), MAX_PARTS))
    if len(folders) in (0, 1, MAX_PARTS):
        return [top]
    return [top._replace(flat=True), *(top._replace(prefix=folder) for folder in folders)]


def videos(part: Part, params: Params) -> Iterator[pd.DataFrame]:
    """The videos of a part, page by page: uri, source_version as from `s3.stat`, changed_s in seconds of Unix time.

    A page also has one row without a URI per reason to leave objects out, with `left_out` and their
    `number`.

    Raises:
        What `parts` raises.
    """
    for page in _pages(part, params):
        entries, left_out = list[dict[str, Any]](), Counter[str]()
        for entry in page.get("Contents", []):
            if why := _omission(entry["Key"], part):
                left_out[why] += 1
            elif not entry["Key"].endswith("/"):  # an object that stands for a folder
                version = s3.version(entry["Size"], entry.get("ETag", ""))
                changed_s = entry["LastModified"].timestamp()
                uri = f"s3://{part.bucket}/{entry['Key']}"
                entries.append({"uri": uri, "source_version": version, "changed_s": changed_s, "number": 1})
        entries += ({"left_out": why, "number": number} for why, number in left_out.items())
        if entries:
            yield pd.DataFrame(entries, columns=list(COLUMNS)).astype(COLUMNS)


def _omission(key: str, part: Part) -> str | None:
    """The reason to leave out an object; None for a video, and for an object that stands for a folder."""
    if key.endswith("/"):
        return None
    *folders, name = key[part.top :].split("/")
    if not name.lower().endswith(VIDEO_SUFFIXES):
        return omissions.SUFFIX
    return next(filter(None, map(omissions.reason, (*folders, name))), None)


def rows(batches: Iterable[pd.DataFrame], params: Params) -> Iterator[pd.DataFrame]:
    """The videos of batches of parts, as `videos` gives them."""
    for batch in batches:
        for part in batch.to_dict("records"):
            yield from videos(Part(part["bucket"], part["prefix"], bool(part["flat"]), int(part["top"])), params)


def _pages(part: Part, params: Params) -> Iterator[dict[str, Any]]:
    return s3.pages({"Bucket": part.bucket, "Prefix": part.prefix} | ({"Delimiter": "/"} if part.flat else {}), params)
