"""ingest: uris of a manifest -> facts of the files behind them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pandas as pd

from schemas.videos import TABLE
from udfs import batching, media, source
from udfs.batching import Env, Row
from udfs.errors import MediaError

COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]


def facts(row: Row, env: Env) -> list[Row]:
    """The one row of videos of a row {uri, attributes}.

    Raises:
        MediaError: what `source.checked_path` and `media.probe` raise.
    """
    uri = row["uri"]
    path = source.checked_path(uri, env.sources)
    seen, tag = source.version(path), source.content_tag(path)  # before the probe: a change under way shows later
    found = media.probe(path, env.limits) | {
        "video_id": source.video_id(uri, tag),
        "uri": uri,
        "source_version": seen,
        "content_tag": tag,
        "size": os.path.getsize(path),
        "attributes": _texts(row.get("attributes")),
    }
    return [{name: found[name] for name in COLUMNS}]


def rows(batches: Iterable[pd.DataFrame], params: None, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of uris with attributes -> batches of videos."""
    return batching.each(batches, partial(facts, env=env), key="uri", columns=COLUMNS, limits=env.limits)


def _texts(attributes: Any) -> dict[str, str | None] | None:
    """Attributes as text; a map out of Arrow comes as a dict or as pairs."""
    if attributes is None:
        return None
    return {str(key): None if value is None else str(value) for key, value in dict(attributes).items()}


def versions(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Batches of uris -> the same with their `source_version`; empty where there is nothing to ask."""
    for batch in batches:
        yield batch.assign(source_version=[_version(uri) for uri in batch["uri"]])


def _version(uri: str) -> str:
    try:
        return source.version(source.local_path(uri))
    except (MediaError, OSError, ValueError):  # told by `facts`, which is asked next
        return ""
