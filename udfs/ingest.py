"""ingest: uris of a manifest -> facts of the files behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pandas as pd

from schemas.videos import TABLE
from udfs import batching, media, source
from udfs.batching import Env, Row
from udfs.errors import MediaError

ASKED_AT_ONCE = 16  # a store takes 30 ms to tell an object's version, and has many to tell
COLUMNS = [name for name in TABLE.schema.names if name not in ("fingerprint", "run_id")]


def facts(row: Row, env: Env) -> list[Row]:
    """The one row of videos of a row {uri, attributes}.

    Raises:
        MediaError: what `source.checked_path` and `media.probe` raise.
    """
    uri = row["uri"]
    path = source.checked_path(uri, env.sources)
    seen, tag = source.stated(path), source.content_tag(path)  # before the probe: a change under way shows later
    found = media.probe(path, env.limits) | {
        "video_id": source.video_id(uri, tag),
        "uri": uri,
        "source_version": seen.version,
        "content_tag": tag,
        "size": seen.size,
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


def versions(batches: Iterable[pd.DataFrame], params: source.Params) -> Iterator[pd.DataFrame]:
    """Batches of uris -> the same with every `source_version`: the one that a listing told, else the file's own.

    Empty where there is nothing to ask.
    """
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        for batch in batches:
            told = pool.map(partial(_version, params=params), batch["uri"], batch["source_version"])
            yield batch.assign(source_version=list(told))


def _version(uri: str, listed: str | None, params: source.Params) -> str:
    if listed:
        return listed
    try:
        return source.version(source.located(uri, params))
    except (MediaError, OSError, ValueError):  # told by `facts`, which is asked next
        return ""
