"""Rows sorted by part -> each part's files, complete or not at all, and its index, written last: what is in them of whom.

The index of an export is a folder of Parquet files, `index/<part>.parquet`, one a part: a part without one is not complete. Read
`index/*.parquet` as one table to find what an export holds of a clip or a source. A row is one clip in one file:

clip_id    the clip; NULL where the query that was exported gave none
video_id   the source it was cut from; NULL where neither is known
name       what the clip is called in the export: NeMo Curator's span_uuid in its layout, else the clip_id
path       the file, below the folder of the export
shared     whether the file holds other clips too. Not shared: delete the file. Shared: in a .tar the members `<name>.*` are the
           clip's; in a .parquet or .lance its rows are those whose `clip_id` or `id` is `name`; a .json mentions `name`
num_bytes  of the file, when it was written
sha256     of the file, when it was written

The format `frames` has no index: each of its folders has the name of its clip or video.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.core.errors import MediaError
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Counter, Env, Row
from udfs.storage import access, media_store
from udfs.storage.remote_file import AnyPath
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote

INDEX = "index"  # folder of the export
CLIP = "_clip"  # beside the query's columns: what is known of the row's clip
PART = "_part"  # likewise: the part it goes to; rows come sorted by it
STRING = pa.string()
SCHEMA = pa.schema(
    [(name, STRING) for name in ("clip_id", "video_id", "name", "path")]
    + [("shared", pa.bool_()), ("num_bytes", pa.int64()), ("sha256", STRING)]
)
# Of a part that was written, or of a clip that could not be; the envelope of a stage's results follows.
RESULTS = pa.schema([("part", STRING), ("num_bytes", pa.int64())])
FAILED = pa.schema([("fingerprint", STRING), *((name, STRING) for name in FAILURE)])
COSTS = pa.schema([(COST, pa.float64()), (GPU_COST, pa.float64())])
ENVELOPE = pa.schema([*RESULTS, *FAILED, *COSTS])


class Clip(NamedTuple):
    """Of whom a file, or something in it, is."""

    clip_id: str | None
    video_id: str | None
    name: str | None


class Part:
    """A part that is being written: its files take their place whole, and `close` writes its index."""

    def __init__(self, name: str, to: str, sources: Sources) -> None:
        self.name = name
        self.to = to
        self.sources = sources
        self.note: dict[str, Any] = {}  # what the format wants to know again of the part
        self.failed: list[tuple[str, MediaError]] = []
        self._index: list[Row] = []

    @contextmanager
    def file(self, path: str, clips: list[Clip], *, shared: bool = True) -> Iterator[str]:
        """A local path to write one file of the export to; `clips` may be filled until the block ends."""
        with media_store.write_to(f"{self.to}/{path}", self.sources, root=self.to) as aside:
            yield aside
            self._note(path, aside, clips, shared)

    def wrote(self, path: str, clips: list[Clip]) -> None:
        """Take up a file that a format's own library has put into its place."""
        self._note(path, f"{self.to}/{path}", clips, True)

    def media(self, row: Row) -> AnyPath | None:
        """The row's mp4, or None and a failure: it is gone, or has other bytes than its row in `clips` says."""
        clip = row[CLIP] or {}
        return self.readable(row["clip_id"], clip.get("uri"), clip.get("sha256"))

    def readable(self, clip_id: str, uri: str | None, sha256: str | None = None) -> AnyPath | None:
        """A file of a clip, or None and a failure of the clip."""
        try:
            return _checked(uri, sha256, self.sources)
        except MediaError as e:
            self.failed.append((clip_id, e))
            return None

    def close(self) -> int:
        """Bytes of the part's files."""
        files = {row["path"]: row["num_bytes"] for row in self._index}
        self.note |= {"num_failed": len(self.failed)}
        schema = SCHEMA.with_metadata({"reelmill": json.dumps(self.note)})
        with media_store.write_to(index_path(self.to, self.name), self.sources, root=self.to) as aside:
            pq.write_table(pa.Table.from_pylist(self._index, schema), aside, compression="zstd")
        return sum(files.values())

    def _note(self, path: str, at: str, clips: list[Clip], shared: bool) -> None:
        facts = {"path": path, "shared": shared, "num_bytes": os.path.getsize(at), "sha256": media_store.sha256(at)}
        self._index += [clip._asdict() | facts for clip in clips or [Clip(None, None, None)]]


Write = Callable[[Part, Iterator[pa.RecordBatch]], None]  # a format: takes all batches of one part


def rows(batches: Iterable[pa.RecordBatch], write: Write, to: str, env: Env, done: Counter) -> Iterator[pa.RecordBatch]:
    """Write every part that the batches hold, one after the other; a row a part, and one a clip that could not be read."""
    for name, members in _by_part(batches):
        part = Part(name, to, env.sources)
        _, cpu_s = batching.with_cpu_seconds(write, part, members)
        found: list[Row] = [{"part": name, "num_bytes": part.close(), COST: cpu_s}]
        found += [batching.failure(key, e) | {COST: 0.0} for key, e in part.failed]
        yield pa.RecordBatch.from_pylist([row | {"fingerprint": env.fingerprint} for row in found], ENVELOPE)
        done.add(1)


def index_path(to: str, part: str) -> str:
    """Where a part's index lies."""
    return f"{to}/{INDEX}/{part}.parquet"


class Summary(NamedTuple):
    """A complete part: its only file, or its index where it has several, and what is in it."""

    path: str
    num_clips: int
    num_files: int
    num_bytes: int
    sha256: str
    note: dict[str, Any]


def summary(to: str, part: str, sources: Sources) -> Summary | None:
    """A part of an export; None if it is not complete. Many files in a store are not asked for: their index is put there last.

    Raises:
        MediaError, StoreError: the store cannot be asked.
    """
    at = index_path(to, part)
    try:
        with media_store.open_uri(at, sources) as file:
            data = file.read()
    except FileNotFoundError:
        return None
    index = pq.read_table(pa.BufferReader(data))
    found = index.to_pylist()
    files = {row["path"]: row for row in found}
    looked_at = {} if is_remote(to) and len(files) > 1 else files
    if any(media_store.size(f"{to}/{path}", sources) != row["num_bytes"] for path, row in looked_at.items()):
        return None
    num_clips = len({row["clip_id"] for row in found} - {None})
    num_bytes = sum(row["num_bytes"] for row in files.values())
    note = json.loads(index.schema.metadata[b"reelmill"])
    if len(files) == 1:
        [(path, row)] = files.items()
        return Summary(path, num_clips, 1, num_bytes, row["sha256"], note)
    return Summary(at.removeprefix(f"{to}/"), num_clips, len(files), num_bytes, hashlib.sha256(data).hexdigest(), note)


def records(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """The rows of batches, one by one."""
    for batch in batches:
        for start in range(0, batch.num_rows, batching.PIECE):
            yield from batch.slice(start, batching.PIECE).to_pylist()


def own(row: Row) -> Row:
    """A row's columns as the query gave them."""
    return {name: value for name, value in row.items() if name not in (CLIP, PART)}


def whose(row: Row) -> Clip:
    """Of whom a row is, as far as it tells."""
    clip = row.get(CLIP) or {}
    return Clip(row.get("clip_id"), clip.get("video_id") or row.get("video_id"), row.get("clip_id"))


def _checked(uri: str | None, sha256: str | None, sources: Sources) -> AnyPath:
    if uri is None:
        raise MediaError("NOT_FOUND", "not among the clips that count")
    path = access.own_path(uri, sources)
    if sha256 and media_store.sha256(path) != sha256:
        raise MediaError("CHANGED", f"{uri} has other bytes than when it was written")
    return path


def _by_part(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    for name, pieces in groupby(_pieces(batches), key=itemgetter(0)):
        yield name, (piece for _, piece in pieces)


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches cut where another part begins."""
    for batch in batches:
        start = 0
        for name, same in groupby(batch.column(PART).to_pylist()):
            length = len(list(same))
            yield name, batch.slice(start, length)
            start += length
