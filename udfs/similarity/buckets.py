"""Pairs of clips whose hashes agree, among those in one bucket: all clips with an equal key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
STORED = -1  # place of a clip that an earlier run kept; places of new clips are at least 0
PAIRS_AT_ONCE = 1 << 20
ROWS = pa.schema(
    [
        ("later", pa.int64()),  # place of a new clip
        ("earlier", pa.int64()),  # place of the clip that it agrees with, or STORED
        ("copy_of", pa.string()),  # clip_id of that clip if it is stored
        ("num_agree", pa.int32()),  # frames
        ("distance", pa.float64()),  # bits, mean of the frames that agree
        ("same", pa.bool_()),  # all hashes are equal
        ("full", pa.int64()),  # the key of a full bucket that `later` came to: then the row is no pair
    ]
)


class Limits(NamedTuple):
    """Which pairs agree, and how many clips of a bucket are compared: as in [copies]."""

    max_distance: int
    min_agree: int
    max_bucket: int


class Buckets(NamedTuple):
    """Rows in the order of their keys and places, and the number of each within its bucket, from 0."""

    keys: Numbers
    places: Numbers
    numbers: Numbers
    clip_ids: pa.ChunkedArray
    hashes: npt.NDArray[np.uint64]  # rows x frames; 0 says nothing


def rows(batches: Iterable[pa.RecordBatch], limits: Limits) -> Iterator[pa.RecordBatch]:
    """ROWS of batches of key, place, clip_id and hashes, which hold all rows of their keys.

    Each row has as many hashes; 0 says nothing. The clips of a bucket are compared with its first
    `max_bucket` ones: stored clips by clip_id, then new ones by place.
    """
    every = [batch for batch in batches if len(batch)]
    if not every:
        return
    buckets = _in_order(pa.Table.from_batches(every))
    later = np.flatnonzero((buckets.places != STORED) & (buckets.numbers > 0))
    counts = np.minimum(buckets.numbers[later], limits.max_bucket)
    ends = np.flatnonzero(np.diff(np.cumsum(counts) // PAIRS_AT_ONCE)) + 1
    for some, num_pairs in zip(np.split(later, ends), np.split(counts, ends), strict=True):
        yield _agreeing(buckets, some, num_pairs, limits)
    full = later[buckets.numbers[later] >= limits.max_bucket]
    yield _batch(len(full), later=buckets.places[full], full=buckets.keys[full])


def _in_order(table: pa.Table) -> Buckets:
    keys, places = (table.column(name).to_numpy() for name in ("key", "place"))
    names = np.zeros(len(table), np.int64)
    if (stored := np.flatnonzero(places == STORED)).size:
        ids = table.column("clip_id").take(pa.array(stored)).to_numpy()
        names[stored] = np.unique(ids.astype(str), return_inverse=True)[1]
    order = np.lexsort((names, places, keys))
    keys, places = keys[order], places[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    sizes = np.diff(np.r_[starts, len(keys)])
    flat = table.column("hashes").combine_chunks().flatten().to_numpy().view(np.uint64)
    hashes = flat.reshape(len(keys), -1)[order]
    numbers = np.arange(len(keys)) - np.repeat(starts, sizes)
    return Buckets(keys, places, numbers, table.column("clip_id").take(pa.array(order)), hashes)


def _agreeing(buckets: Buckets, later: Numbers, counts: Numbers, limits: Limits) -> pa.RecordBatch:
    """The pairs that agree, of rows with the `counts` first ones of their buckets."""
    first_pairs = np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(later - buckets.numbers[later], counts)
    one, other = np.repeat(later, counts), starts + np.arange(len(starts)) - first_pairs
    a, b = buckets.hashes[one], buckets.hashes[other]
    bits = np.bitwise_count(a ^ b)
    near = (bits <= limits.max_distance) & (a != 0) & (b != 0)
    num_agree = near.sum(axis=1)
    found = np.flatnonzero(num_agree >= limits.min_agree)
    one, other, num_agree = one[found], other[found], num_agree[found]
    distance = np.where(near[found], bits[found], 0).sum(axis=1) / num_agree
    return _batch(
        len(found),
        later=buckets.places[one],
        earlier=buckets.places[other],
        copy_of=buckets.clip_ids.take(pa.array(other)),
        num_agree=num_agree,
        distance=distance,
        same=~bits[found].any(axis=1),
    )


def _batch(num_rows: int, **columns: npt.NDArray[np.generic] | pa.ChunkedArray) -> pa.RecordBatch:
    """Rows of ROWS; columns that are not given are NULL."""
    arrays = []
    for field in ROWS:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(num_rows, field.type))
        elif isinstance(values, pa.ChunkedArray):
            arrays.append(values.cast(field.type).combine_chunks())
        else:
            arrays.append(pa.array(values).cast(field.type))
    return pa.record_batch(arrays, schema=ROWS)
