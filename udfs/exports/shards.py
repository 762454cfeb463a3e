"""Parts of an export: their files, each complete or absent, and the index of their content.

The index of an export is a folder of Parquet files, `index/<part>.parquet`, one per part. It is
written last: a part without an index is not complete. Read `index/*.parquet` as one table to find
what an export holds of a clip or a source. A row is one clip in one file:

clip_id    the clip; NULL if the exported query has no clip_id
video_id   the source of the clip; NULL if neither is known. Where both are NULL, a shared file has
           rows that name no clip and no video, and any other file is empty
name       the clip's name in the export: its span_uuid in NeMo Curator's layout, else its clip_id
path       the file, relative to the folder of the export
shared     whether the file may hold other clips too. To remove a clip, delete a file that is not
           shared. In a shared .tar, its members are `<name>.*`; in a .parquet or .lance, its rows
           are those whose `clip_id` or `id` is `name`, and where it has no clip_id those of its
           `video_id`; a .json mentions `name`
num_bytes  size of the file when it was written
sha256     hash of the file when it was written

The format `frames` has no index: each of its folders has the name of its clip or video.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.core.errors import MediaError, StoreError
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Counter, Env, Row
from udfs.storage import access, breaker, media_store
from udfs.storage.remote_file import AnyPath
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote

INDEX = "index"  # folder of the export
ASKED_AT_ONCE = 16  # parts: a store takes 30 ms for each
CLIP = "_clip"  # column beside the query's: the facts of the row's clip
PART = "_part"  # column beside the query's: the row's part; rows come sorted by it
STRING = pa.string()
SCHEMA = pa.schema(
    [(name, STRING) for name in ("clip_id", "video_id", "name", "path")]
    + [("shared", pa.bool_()), ("num_bytes", pa.int64()), ("sha256", STRING)]
)
# A row is a written part or a failed clip; the columns of every stage's results follow.
RESULTS = pa.schema([("part", STRING), ("num_bytes", pa.int64())])
FAILED = pa.schema([("fingerprint", STRING), *((name, STRING) for name in FAILURE)])
COSTS = pa.schema([(COST, pa.float64()), (GPU_COST, pa.float64())])
ENVELOPE = pa.schema([*RESULTS, *FAILED, *COSTS])


class Clip(NamedTuple):
    """A clip in a file of an export, as far as it is known."""

    clip_id: str | None
    video_id: str | None
    name: str | None


class Part:
    """A part while it is written: its files appear whole, and `close` writes its index."""

    def __init__(self, name: str, to: str, sources: Sources) -> None:
        self.name = name
        self.to = to
        self.sources = sources
        self.note: dict[str, Any] = {}  # facts of the part that the format needs later, stored in its index
        self.failed: list[tuple[str, MediaError]] = []
        self._index: list[Row] = []

    @contextmanager
    def file(self, path: str, clips: list[Clip], *, shared: bool = True) -> Iterator[str]:
        """A local path to which the block writes one file; `clips` may be filled until it ends."""
        with media_store.write_to(f"{self.to}/{path}", self.sources, root=self.to) as local_path:
            yield local_path
            self._index_file(path, local_path, clips, shared)

    def add_file(self, path: str, clips: list[Clip]) -> None:
        """Add a file to the index that a format's own library wrote."""
        self._index_file(path, f"{self.to}/{path}", clips, True)

    def media(self, row: Row) -> AnyPath | None:
        """The row's mp4; None and a failure of the clip if it is missing or its sha256 differs."""
        clip = row[CLIP] or {}
        return self.readable_file(row["clip_id"], clip.get("uri"), clip.get("sha256"))

    def readable_file(self, clip_id: str, uri: str | None, sha256: str | None = None) -> AnyPath | None:
        """A file of a clip; None, with a failure of the clip, if it cannot be read."""
        try:
            return _checked(uri, sha256, self.sources)
        except MediaError as e:
            self.failed.append((clip_id, e))
            return None

    def check_reachable(self) -> None:
        """Stop where none of several clips could be reached: those of other parts would be left out as well.

        Raises:
            StoreError: their store does not answer.
        """
        codes = {e.code for _, e in self.failed}
        holds_any = any(row["clip_id"] for row in self._index)
        if codes == {"UNREACHABLE"} and len(self.failed) >= breaker.FILES and not holds_any:
            message = self.failed[-1][1].message
            raise StoreError(f"none of the {len(self.failed)} clips of part {self.name} could be read: {message}")

    def close(self) -> int:
        """Write the index; returns the bytes of the part's files.

        It notes how many clips are left out, by the codes of their failures.
        """
        files = {row["path"]: row["num_bytes"] for row in self._index}
        codes = [e.code for _, e in self.failed]
        self.note |= {"num_failed": len(codes)}
        self.note |= {"failed": {code: codes.count(code) for code in sorted({*codes})}} if codes else {}
        schema = SCHEMA.with_metadata({"reelmill": json.dumps(self.note)})
        with media_store.write_to(index_path(self.to, self.name), self.sources, root=self.to) as local_path:
            pq.write_table(pa.Table.from_pylist(self._index, schema), local_path, compression="zstd")
        return sum(files.values())

    def _index_file(self, path: str, at: str, clips: list[Clip], shared: bool) -> None:
        facts: Row = {"path": path, "num_bytes": os.path.getsize(at), "sha256": media_store.sha256(at)}
        facts |= {"shared": shared and bool(clips)}
        self._index += [clip._asdict() | facts for clip in dict.fromkeys(clips or [Clip(None, None, None)])]


Write = Callable[[Part, Iterator[pa.RecordBatch]], None]  # writes the batches of one part


def rows(batches: Iterable[pa.RecordBatch], write: Write, to: str, env: Env, done: Counter) -> Iterator[pa.RecordBatch]:
    """Write the parts one after the other; a row per part, and one per clip that failed.

    Raises:
        StoreError: a store does not answer, or refuses.
    """
    for name, members in _batches_by_part(batches):
        part = Part(name, to, env.sources)
        with _store_errors(part):
            _, cpu_s = batching.with_cpu_seconds(write, part, members)
            part.check_reachable()
            num_bytes = part.close()
        results: list[Row] = [{"part": name, "num_bytes": num_bytes, COST: cpu_s}]
        results += [batching.failure(key, e) | {COST: 0.0} for key, e in part.failed]
        yield pa.RecordBatch.from_pylist([row | {"fingerprint": env.fingerprint} for row in results], ENVELOPE)
        done.add(1)


@contextmanager
def _store_errors(part: Part) -> Iterator[None]:
    """Stop the run at an error that is not of one clip: of the export's store, or in the midst of a clip's file."""
    try:
        yield
    except MediaError as e:
        message = f"part {part.name} of {part.to} cannot be written: {e.code}: {e.message}"
        raise StoreError(" ".join(message.split())) from e


def index_path(to: str, part: str) -> str:
    """The address of a part's index."""
    return f"{to}/{INDEX}/{part}.parquet"


class Summary(NamedTuple):
    """A complete part: its only file, or its index if there are several, and their totals."""

    path: str
    num_clips: int
    num_files: int
    num_bytes: int
    sha256: str
    note: dict[str, Any]


def part_summary(to: str, part: str, sources: Sources) -> Summary | None:
    """The summary of a part of an export; None if the part is not complete.

    In a remote store, the files of a part with several files are not looked up: the index was
    written after them.

    Raises:
        MediaError, StoreError: the store cannot be reached.
    """
    index_uri = index_path(to, part)
    try:
        with media_store.open_uri(index_uri, sources) as file:
            data = file.read()
    except FileNotFoundError:
        return None
    index = pq.read_table(pa.BufferReader(data))
    rows = index.to_pylist()
    files = {row["path"]: row for row in rows}
    checked = {} if is_remote(to) and len(files) > 1 else files
    if any(media_store.size(f"{to}/{path}", sources) != row["num_bytes"] for path, row in checked.items()):
        return None
    num_clips = len({row["clip_id"] for row in rows} - {None})
    num_bytes = sum(row["num_bytes"] for row in files.values())
    note = json.loads(index.schema.metadata[b"reelmill"])
    if len(files) == 1:
        [(path, row)] = files.items()
        return Summary(path, num_clips, 1, num_bytes, row["sha256"], note)
    return Summary(
        index_uri.removeprefix(f"{to}/"), num_clips, len(files), num_bytes, hashlib.sha256(data).hexdigest(), note
    )


def part_summaries(to: str, parts: Sequence[str], sources: Sources) -> dict[str, Summary | None]:
    """The summaries of parts, by name; errors are those of `part_summary`."""
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return dict(zip(parts, pool.map(partial(part_summary, to, sources=sources), parts), strict=True))


def records(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """The rows of batches, one by one."""
    for batch in batches:
        for start in range(0, batch.num_rows, batching.PIECE):
            yield from batch.slice(start, batching.PIECE).to_pylist()


def query_columns(row: Row) -> Row:
    """The columns of a row that the query gave."""
    return {name: value for name, value in row.items() if name not in (CLIP, PART)}


def row_clip(row: Row) -> Clip:
    """The clip of a row, as far as the row names it."""
    clip = row.get(CLIP) or {}
    return Clip(row.get("clip_id"), clip.get("video_id") or row.get("video_id"), row.get("clip_id"))


def _checked(uri: str | None, sha256: str | None, sources: Sources) -> AnyPath:
    if uri is None:
        raise MediaError("NOT_FOUND", "not among the current clips")
    path = access.own_path(uri, sources)
    if sha256 and media_store.sha256(path) != sha256:
        raise MediaError("CHANGED", f"{uri} is not the file that was written: its sha256 differs")
    return path


def _batches_by_part(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    for name, slices in groupby(_slices(batches), key=itemgetter(0)):
        yield name, (rows_of_part for _, rows_of_part in slices)


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches, sliced where another part begins."""
    for batch in batches:
        start = 0
        for name, run in groupby(batch.column(PART).to_pylist()):
            length = len(list(run))
            yield name, batch.slice(start, length)
            start += length
