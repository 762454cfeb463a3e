"""Removal of clips and videos from an export and its index, in a folder or in a store."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from udfs.exports import huggingface
from udfs.exports.shards import INDEX
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote

Facts = dict[str, Any]  # num_bytes and sha256 of a file, columns of an index
NAMING = ("clip_id", "id", "video_id")  # columns of a Parquet file that may name what a row is of


class AffectedFile(NamedTuple):
    """A file or folder of an export that holds clips to remove.

    `names` are the names of these clips in it, of rows without a clip the ids of their videos;
    `is_exclusive` if it holds nothing else.
    """

    path: str
    names: frozenset[str]
    is_exclusive: bool


class Content(NamedTuple):
    """What an export holds of clips or videos.

    `has_unnamed`: there are rows that name no clip and no video, and may be of any.
    """

    files: list[AffectedFile]
    has_unnamed: bool


def content(folder: str, ids: Collection[str], sources: Sources) -> Content:
    """What an export holds of clips or videos of these ids."""
    files, has_unnamed = [*_folders(folder, ids)], False
    for uri in _indexes(folder, sources):
        rows = _read_index(uri, sources).to_pylist()
        files += _affected_files(rows, ids)
        has_unnamed |= any(row.get("shared") and not (row["clip_id"] or row["video_id"]) for row in rows)
    return Content(files, has_unnamed)


def affected_files(folder: str, ids: Collection[str], sources: Sources) -> list[AffectedFile]:
    """The files and folders of an export that hold clips or videos of these ids."""
    return content(folder, ids, sources).files


def remove_ids(folder: str, ids: Collection[str], sources: Sources) -> None:
    """Remove clips and videos from an export.

    A shared file stays if only its own library can rewrite it, as with Lance; `affected_files`
    still reports it.
    """
    try:
        for file in _folders(folder, ids):
            _delete(f"{folder}/{file.path}", sources)
        for uri in _indexes(folder, sources):
            index = _read_index(uri, sources)
            affected = _affected_files(index.to_pylist(), ids)
            new_facts = {file.path: _remove_from_file(folder, file, sources) for file in affected}
            if new_facts:
                with media_store.write_to(uri, sources, root=folder) as path:
                    pq.write_table(_updated_index(index, new_facts, ids), path)
    finally:
        media_store.remove_unfinished(folder, sources)


def files_and_bytes(folder: str, file: AffectedFile, sources: Sources) -> tuple[int, int]:
    """The number of files behind an affected file or folder, and their bytes."""
    uri = f"{folder}/{file.path}"
    if not is_remote(folder) and os.path.isdir(uri):
        paths = [path for path in Path(uri).rglob("*") if path.is_file()]
        return len(paths), sum(path.stat().st_size for path in paths)
    num_bytes = media_store.size(uri, sources)
    return (0, 0) if num_bytes is None else (1, num_bytes)


def _folders(folder: str, ids: Collection[str]) -> Iterator[AffectedFile]:
    """The folders of clips and videos of the format `frames`, which is never written to a store."""
    for name in () if is_remote(folder) else sorted(ids):
        if name and os.path.isdir(os.path.join(folder, name)):
            yield AffectedFile(name, frozenset(), True)


def _indexes(folder: str, sources: Sources) -> list[str]:
    uris = (file.uri for file in media_store.files(f"{folder}/{INDEX}", sources))
    return sorted(uri for uri in uris if uri.endswith(".parquet"))


def _read_index(index: str, sources: Sources) -> pa.Table:
    with media_store.open_uri(index, sources) as file:
        return pq.read_table(file)


def _affected_files(rows: list[dict[str, Any]], ids: Collection[str]) -> Iterator[AffectedFile]:
    by_path: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_path.setdefault(row["path"], []).append(row)
    for path, inside in by_path.items():
        affected = [row for row in inside if _is_removed(row, ids)]
        if affected:
            names = frozenset(row["name"] or row["clip_id"] or row["video_id"] for row in affected)
            yield AffectedFile(path, names, len(affected) == len(inside))


def _is_removed(row: dict[str, Any], ids: Collection[str]) -> bool:
    return row["clip_id"] in ids or row["video_id"] in ids


def _remove_from_file(folder: str, file: AffectedFile, sources: Sources) -> Facts | None:
    """Remove clips from a file; returns its new facts, {} if it is deleted, None if unchanged."""
    uri = f"{folder}/{file.path}"
    rewrite = REWRITERS.get(os.path.splitext(file.path)[1])
    if file.is_exclusive:
        _delete(uri, sources)
        return {}
    if rewrite is None:
        return None
    if media_store.size(uri, sources) is None:
        return {}
    with media_store.open_uri(uri, sources) as old, media_store.write_to(uri, sources, root=folder) as path:
        rewrite(old, path, file.names)
        return {"num_bytes": os.path.getsize(path), "sha256": media_store.sha256(path)}


def _delete(uri: str, sources: Sources) -> None:
    if not is_remote(uri) and os.path.isdir(uri):
        shutil.rmtree(uri)
    else:
        media_store.remove([uri], sources)


def _rewrite_tar(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """Write a shard without the members `<name>.*`."""
    with tarfile.open(fileobj=old) as members, tarfile.open(path, "w", format=members.format) as new:
        for member in members:
            if os.path.basename(member.name).partition(".")[0] not in names:
                new.addfile(member, members.extractfile(member))


def _rewrite_parquet(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """Write a table without the rows whose clip_id, id or video_id is a name, in the layout of the export."""
    with pq.ParquetFile(old) as table:
        texts = {field.name for field in table.schema_arrow if pa.types.is_string(field.type)}
        columns, values = [name for name in NAMING if name in texts], pa.array(sorted(names), pa.string())
        with pq.ParquetWriter(path, table.schema_arrow, **huggingface.writer_options(table.schema_arrow)) as new:
            for i in range(table.num_row_groups):
                group = table.read_row_group(i)
                removed = (pc.is_in(group.column(name), values) for name in columns)
                if (remaining := group.filter(pc.invert(reduce(pc.or_, removed)))).num_rows:
                    new.write_table(remaining)


def _rewrite_json(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """Write a document without the keys that are names and the list items that mention one."""
    Path(path).write_text(json.dumps(_without(json.loads(old.read()), names), indent=4), encoding="utf-8")


REWRITERS: dict[str, Callable[[BinaryIO, str, Collection[str]], None]] = {
    ".tar": _rewrite_tar,
    ".parquet": _rewrite_parquet,
    ".json": _rewrite_json,
}


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, names) for key, inner in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(inner, names) for inner in value if not _mentions(inner, names)]
    return value


def _mentions(value: Any, names: Collection[str]) -> bool:
    words = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(word, str) and word in names for word in words)


def _updated_index(index: pa.Table, new_facts: Mapping[str, Facts | None], ids: Collection[str]) -> pa.Table:
    """The index without removed rows, with the sizes and hashes of rewritten files."""
    rows = []
    for row in index.to_pylist():
        facts = new_facts.get(row["path"])
        if facts is None or not _is_removed(row, ids):
            rows.append(row | (facts or {}))
    return pa.Table.from_pylist(rows, index.schema)
