"""withdraw: an exported data set and the ids of clips and videos -> the same without them, its index too."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

INDEX = "index"  # folder of Parquet files whose rows say which file holds which clip: clip_id, video_id, name, path
ASIDE = ".withdrawing"  # ending of a file that is not complete yet


class Held(NamedTuple):
    """A file of an export that holds what goes: by what names, and whether anything else is in it."""

    path: str
    names: frozenset[str]
    alone: bool


def held(folder: str, ids: Collection[str]) -> Iterator[Held]:
    """The files and folders of an export that hold clips or videos of these ids."""
    for name in sorted(ids):
        if name and os.path.isdir(os.path.join(folder, name)):  # as `frames` has them
            yield Held(name, frozenset(), True)
    for part in sorted(Path(folder, INDEX).glob("*.parquet")):
        yield from _held(pq.read_table(part).to_pylist(), ids)


def withdraw(folder: str, ids: Collection[str]) -> None:
    """Take clips and videos out of an export; what holds others as well and can be written anew only by its own library stays."""
    for found in held(folder, ids):
        _take_out(os.path.join(folder, found.path), found)
    for part in sorted(Path(folder, INDEX).glob("*.parquet")):
        index = pq.read_table(part)
        if going := {found.path for found in _held(index.to_pylist(), ids)}:
            _write(str(part), partial(pq.write_table, _less(folder, index, going, ids)))


def size(folder: str, found: Held) -> tuple[int, int]:
    """How many files these are, and their bytes."""
    path = Path(folder, found.path)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] if path.exists() else []
    return len(files), sum(file.stat().st_size for file in files)


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


def _take_out(path: str, found: Held) -> None:
    anew = {".tar": _tar, ".parquet": _parquet, ".json": _json}.get(os.path.splitext(path)[1])
    if found.alone:
        shutil.rmtree(path) if os.path.isdir(path) else Path(path).unlink(missing_ok=True)
    elif anew and os.path.exists(path):
        _write(path, partial(anew, path, names=found.names))


def _write(path: str, write: Callable[[str], None]) -> None:
    write(path + ASIDE)
    os.replace(path + ASIDE, path)


def _tar(path: str, aside: str, names: Collection[str]) -> None:
    """A shard without the members `<name>.*`."""
    with tarfile.open(path) as old, tarfile.open(aside, "w", format=old.format) as new:
        for member in old:
            if os.path.basename(member.name).partition(".")[0] not in names:
                new.addfile(member, old.extractfile(member))


def _parquet(path: str, aside: str, names: Collection[str]) -> None:
    """A table without the rows whose clip_id or id is a name."""
    with pq.ParquetFile(path) as old:
        column = "clip_id" if "clip_id" in old.schema_arrow.names else "id"
        with pq.ParquetWriter(aside, old.schema_arrow) as new:
            for batch in old.iter_batches():
                goes = pc.is_in(batch.column(column), pa.array(sorted(names), batch.schema.field(column).type))
                new.write_batch(batch.filter(pc.invert(goes)))


def _json(path: str, aside: str, names: Collection[str]) -> None:
    """A document without what is called by a name or is in a list and holds one."""
    document = _without(json.loads(Path(path).read_text(encoding="utf-8")), names)
    Path(aside).write_text(json.dumps(document, indent=4), encoding="utf-8")


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, names) for key, inner in value.items() if key not in names}
    if isinstance(value, list):
        return [_without(inner, names) for inner in value if not _is_of(inner, names)]
    return value


def _is_of(value: Any, names: Collection[str]) -> bool:
    words = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(word, str) and word in names for word in words)


def _less(folder: str, index: pa.Table, going: Collection[str], ids: Collection[str]) -> pa.Table:
    """The index without what is gone, and with the new sizes and hashes of files that were written anew."""
    rows = [row for row in index.to_pylist() if not (_goes(row, ids) and _is_out(os.path.join(folder, row["path"])))]
    for row in rows:
        path = Path(folder, row["path"])
        if row["path"] in going and path.is_file():
            with open(path, "rb") as f:
                row |= {"num_bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}
    return pa.Table.from_pylist(rows, index.schema)


def _is_out(path: str) -> bool:
    return not os.path.exists(path) or path.endswith((".tar", ".parquet", ".json"))
