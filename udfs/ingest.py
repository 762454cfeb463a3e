"""ingest: uris of a manifest -> facts of the files behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pandas as pd

from schemas.videos import TABLE
from udfs.core.errors import MediaError
from udfs.runtime import batching
from udfs.runtime.batching import Env, Row
from udfs.storage import access
from udfs.video import container

ASKED_AT_ONCE = 16  # a store takes 30 ms to tell an object's version, and has many to tell
COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]


def facts(row: Row, env: Env, taken: Collection[str] = ()) -> list[Row]:
    """The one row of videos of a row {uri, attributes}, unless its content tag is one of those taken down.

    Raises:
        MediaError: what `source.checked_path` and `media.probe` raise; DENIED for what was taken down.
    """
    uri = row["uri"]
    path = access.checked_path(uri, env.sources)
    seen, tag = access.stated(path), access.content_tag(path)  # before the probe: a change under way shows later
    if access.matches(tag, taken):
        raise MediaError("DENIED", "taken down: the same bytes were, at this address or another")
    found = container.probe(path, env.limits) | {
        "video_id": access.video_id(uri, tag),
        "uri": uri,
        "source_version": seen.version,
        "content_tag": tag,
        "size": seen.size,
        "attributes": _texts(row.get("attributes")),
    }
    return [{name: found.get(name) for name in COLUMNS}]


def rows(batches: Iterable[pd.DataFrame], params: Collection[str], env: Env) -> Iterator[pd.DataFrame]:
    """Batches of uris with attributes -> batches of videos; `params` are the content tags that were taken down."""
    return batching.each(batches, partial(facts, env=env, taken=params), key="uri", columns=COLUMNS, limits=env.limits)


def _texts(attributes: Any) -> dict[str, str | None] | None:
    """Attributes as text; a map out of Arrow comes as a dict or as pairs."""
    if attributes is None:
        return None
    return {str(key): None if value is None else str(value) for key, value in dict(attributes).items()}


def versions(batches: Iterable[pd.DataFrame], params: access.Params) -> Iterator[pd.DataFrame]:
    """Batches of uris -> the same with every `source_version`: the one that a listing told, else the file's own.

    Empty where there is nothing to ask.
    """
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        for batch in batches:
            versions = pool.map(
                partial(_version, params=params), batch["uri"], batch["source_version"], batch["left_out"]
            )
            yield batch.assign(source_version=pd.Series([*versions], batch.index, "object"))


def changes(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of uris and attributes -> the same with `changed_s`, seconds of Unix time, where no listing told it.

    None for what is no file of this machine, and where the attributes say when it was changed.
    """
    for batch in batches:
        pairs = zip(batch["attributes"], batch["left_out"], strict=True)
        stated = [bool(left_out or (attributes and attributes.get(access.MODIFIED))) for attributes, left_out in pairs]
        times = [None if known else _changed_s(uri) for uri, known in zip(batch["uri"], stated, strict=True)]
        yield batch.assign(changed_s=batch["changed_s"].fillna(pd.Series(times, batch.index, "float64")))


def _changed_s(uri: str) -> float | None:
    try:
        return access.changed_s(access.local_path(uri))
    except (MediaError, OSError, ValueError):
        return None


def _version(uri: str, listed: str | None, left_out: str | None, params: access.Params) -> str | None:
    if listed or left_out:
        return listed
    try:
        return access.version(access.located(uri, params))
    except (MediaError, OSError, ValueError):  # told by `facts`, which is asked next
        return ""
