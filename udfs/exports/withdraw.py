"""withdraw: an exported data set and the ids of clips and videos -> the same without them, its index too, wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from udfs.exports import huggingface
from udfs.exports.shards import INDEX
from udfs.storage import access, media_store

Facts = dict[str, Any]  # of a file, as an index has them


class Held(NamedTuple):
    """A file of an export that holds what goes: by what names, and whether anything else is in it."""

    path: str
    names: frozenset[str]
    alone: bool


def held(folder: str, ids: Collection[str], sources: access.Params) -> Iterator[Held]:
    """The files and folders of an export that hold clips or videos of these ids."""
    yield from _folders(folder, ids)
    for index in _indexes(folder, sources):
        yield from _held(_read(index, sources).to_pylist(), ids)


def withdraw(folder: str, ids: Collection[str], sources: access.Params) -> None:
    """Take clips and videos out of an export; what holds others as well and can be written anew only by its own library stays."""
    try:
        for found in _folders(folder, ids):
            _remove(f"{folder}/{found.path}", sources)
        for uri in _indexes(folder, sources):
            index = _read(uri, sources)
            anew = {found.path: _take_out(folder, found, sources) for found in _held(index.to_pylist(), ids)}
            if anew:
                with media_store.writing(uri, sources, root=folder) as path:
                    pq.write_table(_less(index, anew, ids), path)
    finally:
        media_store.clear(folder, sources)


def size(folder: str, found: Held, sources: access.Params) -> tuple[int, int]:
    """How many files these are, and their bytes."""
    uri = f"{folder}/{found.path}"
    if not access.is_remote(folder) and os.path.isdir(uri):
        files = [file for file in Path(uri).rglob("*") if file.is_file()]
        return len(files), sum(file.stat().st_size for file in files)
    num_bytes = media_store.size(uri, sources)
    return (0, 0) if num_bytes is None else (1, num_bytes)


def _folders(folder: str, ids: Collection[str]) -> Iterator[Held]:
    """The folders of clips and videos, as `frames` makes them, which is written to no store."""
    for name in () if access.is_remote(folder) else sorted(ids):
        if name and os.path.isdir(os.path.join(folder, name)):
            yield Held(name, frozenset(), True)


def _indexes(folder: str, sources: access.Params) -> list[str]:
    found = (file.uri for file in media_store.files(f"{folder}/{INDEX}", sources))
    return sorted(uri for uri in found if uri.endswith(".parquet"))


def _read(index: str, sources: access.Params) -> pa.Table:
    with media_store.reading(index, sources) as file:
        return pq.read_table(file)


def _held(rows: list[dict[str, Any]], ids: Collection[str]) -> Iterator[Held]:
    by_path: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_path.setdefault(row["path"], []).append(row)
    for path, inside in by_path.items():
        going = [row for row in inside if _goes(row, ids)]
        if going:
            yield Held(path, frozenset(row["name"] or row["clip_id"] for row in going), len(going) == len(inside))


def _goes(row: dict[str, Any], ids: Collection[str]) -> bool:
    return row["clip_id"] in ids or row["video_id"] in ids


def _take_out(folder: str, found: Held, sources: access.Params) -> Facts | None:
    """What the index is to say of the file now: nothing if it is gone, None if it stays as it was."""
    uri = f"{folder}/{found.path}"
    write = WRITERS.get(os.path.splitext(found.path)[1])
    if found.alone:
        _remove(uri, sources)
        return {}
    if write is None:
        return None
    if media_store.size(uri, sources) is None:
        return {}
    with media_store.reading(uri, sources) as old, media_store.writing(uri, sources, root=folder) as path:
        write(old, path, found.names)
        return {"num_bytes": os.path.getsize(path), "sha256": media_store.sha256(path)}


def _remove(uri: str, sources: access.Params) -> None:
    if not access.is_remote(uri) and os.path.isdir(uri):
        shutil.rmtree(uri)
    else:
        media_store.remove([uri], sources)


def _tar(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """A shard without the members `<name>.*`."""
    with tarfile.open(fileobj=old) as members, tarfile.open(path, "w", format=members.format) as new:
        for member in members:
            if os.path.basename(member.name).partition(".")[0] not in names:
                new.addfile(member, members.extractfile(member))


def _parquet(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """A table without the rows whose clip_id or id is a name, in the layout that the export gave it."""
    with pq.ParquetFile(old) as table:
        column = "clip_id" if "clip_id" in table.schema_arrow.names else "id"
        with pq.ParquetWriter(path, table.schema_arrow, **huggingface.layout(table.schema_arrow)) as new:
            for i in range(table.num_row_groups):
                group = table.read_row_group(i)
                goes = pc.is_in(group.column(column), pa.array(sorted(names), group.schema.field(column).type))
                if (stays := group.filter(pc.invert(goes))).num_rows:
                    new.write_table(stays)


def _json(old: BinaryIO, path: str, names: Collection[str]) -> None:
    """A document without what is called by a name or is in a list and holds one."""
    Path(path).write_text(json.dumps(_without(json.loads(old.read()), names), indent=4), encoding="utf-8")


WRITERS: dict[str, Callable[[BinaryIO, str, Collection[str]], None]] = {
    ".tar": _tar,
    ".parquet": _parquet,
    ".json": _json,
}


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, names) for key, inner in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(inner, names) for inner in value if not _is_of(inner, names)]
    return value


def _is_of(value: Any, names: Collection[str]) -> bool:
    words = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(word, str) and word in names for word in words)


def _less(index: pa.Table, anew: Mapping[str, Facts | None], ids: Collection[str]) -> pa.Table:
    """The index without what is gone, and with the new sizes and hashes of files that were written anew."""
    rows = []
    for row in index.to_pylist():
        facts = anew.get(row["path"])
        if facts is None or not _goes(row, ids):
            rows.append(row | (facts or {}))
    return pa.Table.from_pylist(rows, index.schema)
