"""The multiplied library: its tables fit together as those of real runs do, and its commits are Delta's."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas import TABLES
from tests.bench import library
from tests.bench.library import DIM, RUNS, VERSION, Library

CLIPS = ("one", "two")
KEYS = {"clip_id": CLIPS, "video_id": ("film",), "stage": ("ingest",)}


def rows(name: str) -> pa.Table:
    """Rows of a table as a run writes them, one per clip or one: with 1 for numbers and NULL for the rest."""
    schema = TABLES[name].schema
    number = len(CLIPS) if "clip_id" in schema.names else 1
    return pa.Table.from_pylist([{f.name: value(f, i) for f in schema} for i in range(number)], schema)


def value(column: pa.Field, i: int) -> Any:
    """A value of a column."""
    if column.name == "uri" or column.name == "key":
        return "/real/film.mp4"
    if column.name == "vector":
        return b"\0" * 4 * DIM if column.type == pa.binary() else [0.0] * DIM
    if pa.types.is_string(column.type):
        names = KEYS.get(column.name, ("f-1",))
        return names[i % len(names)]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return 1
    if pa.types.is_boolean(column.type):
        return True
    return [] if pa.types.is_list(column.type) and not column.nullable else None


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The rows of two runs of a library of 1000 clips per run."""
    seed = {name: rows(name) for name in (*library.QUERIES, "centroids")}
    small = Library(tmp_path_factory.mktemp("library") / "output", 1000 * RUNS, seed)
    for name in seed:
        DeltaTable.create(small.output / "tables" / name, schema=pa.schema(TABLES[name].schema))
    database = library.database_of(small)
    for number in (0, 1):
        library.write_run(small, database, number)
    return {name: DeltaTable(small.output / "tables" / name).to_pyarrow_table().to_pylist() for name in library.QUERIES}


def ids(table: list[dict[str, Any]], column: str = "clip_id") -> set[str]:
    """The values of a column."""
    return {row[column] for row in table}


def test_every_clip_is_cut_or_has_a_failure(tables: dict[str, list[dict[str, Any]]]) -> None:
    failed = {
        stage: {row["key"] for row in tables["failures"] if row["stage"] == stage} for stage in ("clip", "analyze")
    }
    assert ids(tables["spans"]) == ids(tables["clips"]) | failed["clip"]
    assert ids(tables["clips"]) == ids(tables["signals"]) | failed["analyze"]
    assert all(0.002 < len(keys) / len(tables["spans"]) < 0.03 for keys in failed.values())


def test_every_measured_clip_is_a_copy_of_one_that_is_kept_or_has_a_vector(
    tables: dict[str, list[dict[str, Any]]],
) -> None:
    copies = {row["clip_id"]: row["copy_of"] for row in tables["copies"]}
    kept = {clip for clip, original in copies.items() if original is None}
    failed = {row["key"] for row in tables["failures"] if row["stage"] == "embed"}
    assert ids(tables["signals"]) == set(copies)
    assert {original for original in copies.values() if original} <= kept
    assert kept == ids(tables["embeddings"]) | failed


def test_links_and_verdicts_are_of_the_clips_of_current_videos(tables: dict[str, list[dict[str, Any]]]) -> None:
    of_files = {row["video_id"] for row in tables["videos"] if row["source_version"] == VERSION}
    current = {row["clip_id"] for row in tables["clips"] if row["video_id"] in of_files}
    assert len(current) < len(tables["clips"])
    assert ids(tables["verdicts"]) == current
    assert ids(tables["assignments"]) <= ids(tables["duplicates"]) <= current


def test_a_run_is_one_commit_per_table(tables: dict[str, list[dict[str, Any]]]) -> None:
    assert ids(tables["clips"], "run_id") >= {library.run_id(0), library.run_id(1)}
    assert len(tables["runs"]) == 2
