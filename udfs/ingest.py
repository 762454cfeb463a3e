"""ingest: the facts of the files of a manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pandas as pd

from schemas.videos import TABLE
from udfs.core.errors import MediaError
from udfs.core.signed_addresses import unsigned, unsigned_text
from udfs.runtime import batching
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import local_path
from udfs.video import container

PARALLEL_REQUESTS = 16  # a store takes 30 ms to return the version of one object
MODIFIED = "modified"  # the attribute of a manifest's row that says when the file was changed
TAKEN_DOWN = "a file with the same bytes was taken down, at this address or another"
COLUMNS = TABLE.stage_columns


def facts(row: Row, env: Env, denied_tags: Collection[str] = ()) -> list[Row]:
    """The one row of table `videos` for a row {uri, attributes} of a manifest.

    Raises:
        MediaError: the file cannot be read or probed (see `access.checked_path` and
            `container.probe`); DENIED if its content tag is one of `denied_tags`, those taken down.
    """
    uri = unsigned(row["uri"])
    path = access.checked_path(access.address(row), env.sources)
    # Before the probe, so that a later check sees a change during the probe.
    stat, tag = access.stat(path), access.content_tag(path)
    if access.is_tagged(tag, denied_tags):
        raise MediaError("DENIED", TAKEN_DOWN)
    row_facts = container.probe(path, env.limits) | {
        "video_id": access.video_id(uri, tag),
        "uri": uri,
        "source_version": stat.version,
        "content_tag": tag,
        "size": stat.size,
        "attributes": _as_text(row.get("attributes")),
    }
    return [{name: row_facts.get(name) for name in COLUMNS}]


def rows(batches: Iterable[pd.DataFrame], params: Collection[str], env: Env) -> Iterator[pd.DataFrame]:
    """Ingest batches of uris with attributes; `params` are the content tags taken down."""
    return batching.each(
        batches, partial(facts, env=env, denied_tags=params), key="uri", columns=COLUMNS, limits=env.limits
    )


def attributes_as_text(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Make the column `attributes` of batches what `facts` makes of it."""
    for batch in batches:
        yield batch.assign(attributes=batch["attributes"].map(_as_text))


def _as_text(attributes: Any) -> dict[str, str | None] | None:
    """Attributes as text, addresses in them unsigned; Arrow gives a map as a dict or as pairs."""
    if attributes is None:
        return None
    return {str(key): None if value is None else unsigned_text(str(value)) for key, value in dict(attributes).items()}


def add_versions(batches: Iterable[pd.DataFrame], params: Sources) -> Iterator[pd.DataFrame]:
    """Fill the column `source_version` of batches of uris with addresses, where the listing gave no version.

    A file that cannot be reached gets an empty version.
    """
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        for batch in batches:
            columns = (batch[name] for name in ("uri", "source_version", "left_out", "address"))
            versions = pool.map(partial(_version, params=params), *columns)
            yield batch.assign(source_version=pd.Series([*versions], batch.index, "object"))


def add_change_times(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Fill the column `changed_s` (Unix time, seconds) of batches of uris with attributes.

    It stays NULL for files of other machines, and where the attributes state a time of change.
    """
    for batch in batches:
        pairs = zip(batch["attributes"], batch["left_out"], strict=True)
        is_known = [bool(left_out or (attributes and attributes.get(MODIFIED))) for attributes, left_out in pairs]
        times = [None if known else _changed_s(uri) for uri, known in zip(batch["uri"], is_known, strict=True)]
        yield batch.assign(changed_s=batch["changed_s"].fillna(pd.Series(times, batch.index, "float64")))


def _changed_s(uri: str) -> float | None:
    try:
        return access.changed_s(local_path(uri))
    except (MediaError, OSError, ValueError):
        return None


def _version(uri: str, listed: str | None, left_out: str | None, address: str | None, params: Sources) -> str | None:
    if listed or left_out:
        return listed
    try:
        return access.uri_version(address or uri, params)
    except (MediaError, ValueError):  # `facts` raises the same error next
        return ""
