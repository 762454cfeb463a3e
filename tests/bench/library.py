"""An output with the tables of a million clips or more, multiplied from the rows of one small real run.

Usage: python -m tests.bench.library OUTPUT CLIPS. Every row is one that a stage wrote, with other ids,
addresses, hashes and run ids: of RUNS runs, with a file and a commit per run and table. The videos
are empty files. Of ten clips one is a copy of another; of a hundred, one was not cut, one has no signals and
one no vector, and `failures` says why; of a hundred videos, two replaced an older one. A vector holds two numbers other
than 0, so that ten million of them fit on a disk. Keys of copies are as many and lie as a run stores
them, but are dice: a run takes an hour or more to store those of ten million clips.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from jobs.lake.tables import Tables
from jobs.similarity import copy_keys, phash_lsh
from jobs.spark.session import PAGE_ROWS, connect
from schemas import TABLES
from schemas.verdicts import FROM_SIGNALS
from tests.bench import material
from tests.support import spent
from udfs.copies import Params

RUNS = 100
FITTED = 64  # the dedup run that fitted the centers; less than half of RUNS would have them fitted again
LONGER = 10  # a video has so many times the clips of a real one
FIRST_RUN = datetime(2026, 1, 1, 1, tzinfo=UTC)
MINUTE_S = 60  # LONGER stretches of this length make a video
FILE_NS = 1_700_000_000 * 10**9  # when all files of videos were changed
VERSION = f"0-{FILE_NS}"
DIM, WEIGHTS = 256, (0.6, 0.8)  # of a vector
ROWS_PER_CLUSTER = 4000
STATS = ("run_id", "dedup_run", "cluster_id", "version", "fingerprint", "stage", "key")  # with bounds in Delta's log
BY_CLUSTER = ("assignments", "duplicates")  # sorted, with small pages
FRAMES = 4  # hashes of a clip

# Which clips a table has, by `fate`: a number below 1000; 1000 for copies and their originals.
CUT, MEASURED, EMBEDDED = "fate >= 10", "fate >= 20", "fate >= 30"

# The videos and clips of one run. `old` marks videos that the next run replaces, and their clips.
OF_RUN = """
CREATE OR REPLACE TEMP TABLE copies_of_run AS
  SELECT k, '' AS old FROM range({first}, {end}) AS r(k)
  UNION ALL SELECT k, 'old' FROM range({end}, {next_end}) AS r(k) WHERE k % 50 = 0;
CREATE OR REPLACE TEMP TABLE videos_of_run AS
  SELECT video_id AS seed_id, k, old, CAST(md5(concat_ws('-', video_id, k, old)) AS UUID)::VARCHAR AS id,
         concat('{source}/', (k // {per_run})::VARCHAR, '/', k, '-', regexp_extract(uri, '[^/]+$')) AS place
  FROM seed_videos CROSS JOIN copies_of_run;
CREATE OR REPLACE TEMP TABLE clips_of_run AS
  SELECT clip_id AS seed_id, k, j, old, CAST(md5(concat_ws('-', clip_id, k, j, old)) AS UUID)::VARCHAR AS id,
         videos_of_run.id AS video, videos_of_run.place AS video_place,
         if(j = {copy}, CAST(md5(concat_ws('-', clip_id, k, 0, old)) AS UUID)::VARCHAR, NULL) AS original,
         if(j IN (0, {copy}), 1000, hash(concat_ws('-', clip_id, k, j, old)) % 1000) AS fate
  FROM seed_spans JOIN videos_of_run ON seed_id = video_id CROSS JOIN range({longer}) AS r(j);
"""
BY_CLIP = "JOIN clips_of_run ON seed_id = clip_id"
MOTION = "motion_score_global_mean * (hash(id) % 1000) / 500"
# The other scores are those of the seed; DuckDB would take freeze for a keyword.
SCORES = [name for name in (*FROM_SIGNALS, "num_previews") if name != "motion_score_global_mean"]
SCORED = ", ".join(f'if({MEASURED}, "{name}", NULL) AS "{name}"' for name in SCORES)
QUERIES = {
    "videos": """
SELECT * EXCLUDE (seed_id, k, old, id, place) REPLACE (
  id AS video_id, place AS uri, if(old = '', '{version}', 'old') AS source_version, md5(id) AS content_tag,
  size * {longer} AS size, num_frames * {longer} AS num_frames, duration_s * {longer} AS duration_s,
  concat(regexp_replace(fingerprint, '-.*', ''), '-', if(old = '', '{version}', 'old')) AS fingerprint,
  '{run_id}' AS run_id)
FROM seed_videos JOIN videos_of_run ON seed_id = video_id""",
    "spans": f"""
SELECT seed_spans.* REPLACE (id AS clip_id, video AS video_id, start_s + {MINUTE_S} * j AS start_s,
  end_s + {MINUTE_S} * j AS end_s, '{{run_id}}' AS run_id) FROM seed_spans {BY_CLIP}""",
    "clips": f"""
SELECT seed_clips.* REPLACE (id AS clip_id, video AS video_id, sha256(id) AS sha256,
  concat('{{output}}/media/clips/', id[1:2], '/', id, '.mp4') AS uri, '{{run_id}}' AS run_id)
FROM seed_clips {BY_CLIP} WHERE {CUT}""",
    "signals": f"""
SELECT seed_signals.* REPLACE (id AS clip_id, '{{run_id}}' AS run_id, {MOTION} AS motion_score_global_mean,
  concat('{{output}}/media/proxies/', id[1:2], '/', id, '.mp4') AS proxy_uri,
  [md5(id || 'a')[1:16], md5(id || 'b')[1:16], md5(id || 'c')[1:16], md5(id || 'd')[1:16]] AS phash)
FROM seed_signals {BY_CLIP} WHERE {MEASURED}""",
    "copies": f"""
SELECT seed_copies.* REPLACE (id AS clip_id, original AS copy_of, if(original IS NULL, NULL, 4) AS num_agree,
  if(original IS NULL, NULL, 1.0) AS distance, '{{run_id}}' AS run_id) FROM seed_copies {BY_CLIP} WHERE {MEASURED}""",
    "embeddings": f"""
SELECT seed_embeddings.* EXCLUDE (vector) REPLACE (id AS clip_id, '{{run_id}}' AS run_id)
FROM seed_embeddings {BY_CLIP} WHERE {EMBEDDED} AND original IS NULL""",
    "assignments": f"""
SELECT seed_assignments.* EXCLUDE (vector) REPLACE (id AS clip_id, (hash(id) % {{num_clusters}})::INT AS cluster_id,
  {FITTED} AS version, {{number}} + 1 AS dedup_run, '{{run_id}}' AS run_id)
FROM seed_assignments {BY_CLIP} WHERE {EMBEDDED} AND original IS NULL AND old = '' ORDER BY cluster_id""",
    "duplicates": f"""
SELECT seed_duplicates.* REPLACE (id AS clip_id, {FITTED} AS version, {{number}} + 1 AS dedup_run,
  if(original IS NULL, (hash(id) % {{num_clusters}})::INT, NULL) AS cluster_id, original AS duplicate_of,
  if(original IS NULL, 'semantic', 'phash') AS method, if(original IS NULL, NULL, 1 - 1.0 / 64) AS similarity,
  if(original IS NULL, distance_to_centroid, NULL) AS distance_to_centroid, '{{run_id}}' AS run_id)
FROM seed_duplicates {BY_CLIP} WHERE {EMBEDDED} AND old = '' ORDER BY cluster_id""",
    "verdicts": f"""
SELECT seed_verdicts.* REPLACE (id AS clip_id, video AS video_id, '{{run_id}}' AS run_id, '{{run_id}}' AS cut_run_id,
  video_place AS video_uri, start_s + {MINUTE_S} * j AS start_s, end_s + {MINUTE_S} * j AS end_s,
  concat('{{output}}/media/clips/', id[1:2], '/', id, '.mp4') AS uri,
  original AS duplicate_of, original IS NULL AS kept, if(original IS NULL, [], ['duplicate']) AS reasons,
  if({MEASURED}, {MOTION}, NULL) AS motion_score_global_mean, {MEASURED} AS measured,
  {SCORED},
  if({EMBEDDED} AND original IS NULL, embedding_model, NULL) AS embedding_model,
  if({EMBEDDED}, if(original IS NULL, 'semantic', 'phash'), NULL) AS link_method,
  if({EMBEDDED} AND original IS NOT NULL, 1 - 1.0 / 64, NULL) AS similarity,
  if({EMBEDDED} AND original IS NULL, (hash(id) % {{num_clusters}})::INT, NULL) AS cluster_id)
FROM seed_verdicts {BY_CLIP} WHERE {CUT} AND old = ''""",
    "failures": """
SELECT seed_failures.* REPLACE (
  concat('{source}/', (k // {per_run})::VARCHAR, '/', k, '-', regexp_extract(key, '[^/]+$')) AS key,
  concat(regexp_replace(fingerprint, '-.*', ''), '-{version}') AS fingerprint, '{run_id}' AS run_id)
FROM seed_failures CROSS JOIN copies_of_run WHERE stage = 'ingest' AND old = '' AND k % 30 = 0
UNION ALL
SELECT id, stage, 'CORRUPT', 'damaged', 1, TIMESTAMPTZ '{started_at}', fingerprint, '{run_id}'
FROM clips_of_run JOIN (
  SELECT 'clip' AS stage, 0 AS least, any_value(fingerprint) AS fingerprint FROM seed_clips
  UNION ALL SELECT 'analyze', 10, any_value(fingerprint) FROM seed_signals
  UNION ALL SELECT 'embed', 20, any_value(fingerprint) FROM seed_embeddings) ON fate >= least AND fate < least + 10""",
    "runs": """
SELECT * REPLACE (num_in * {scale} AS num_in, num_out * {scale} AS num_out,
  TIMESTAMPTZ '{started_at}' AS started_at, '{run_id}' AS run_id,
  TIMESTAMPTZ '{started_at}' + (ended_at - started_at) AS ended_at) FROM seed_runs""",
}
WITH_VECTORS = {"embeddings": pa.list_(pa.float32()), "assignments": pa.binary()}


def main(output: str, num_clips: int) -> None:
    """Make the library, unless it is there."""
    made = Library(Path(output).resolve(), num_clips, real_run())
    print(f"{made.num_copies * made.clips_per_copy:,} clips in {make(made)}")


@dataclass(frozen=True)
class Library:
    """A library of at least `num_clips` clips, and the run that it is multiplied from."""

    output: Path
    num_clips: int
    seed: dict[str, pa.Table]  # the tables of that run

    @property
    def source(self) -> Path:
        """The folder of the videos."""
        return self.output.with_name(f"{self.output.name}-videos")

    @property
    def clips_per_copy(self) -> int:
        """How many clips the seed gives each time that it is copied."""
        return LONGER * len(self.seed["clips"])

    @property
    def num_copies(self) -> int:
        """How often the seed is copied; a multiple of RUNS."""
        return RUNS * max(1, -(-self.num_clips // (self.clips_per_copy * RUNS)))

    @property
    def num_clusters(self) -> int:
        """The clusters of dedup."""
        return max(1, self.num_copies * self.clips_per_copy // ROWS_PER_CLUSTER)


def real_run() -> dict[str, pa.Table]:
    """The tables of a real run of four small videos, which is made once."""
    output = material.HOME.parent.resolve() / "seed"
    if not (output / "tables" / "verdicts").exists():
        shutil.rmtree(output, ignore_errors=True)
        command = ["curate", "--manifest", str(material.four_videos().resolve()), "--output", str(output)]
        spent.run([sys.executable, "-m", "jobs", *command])
    folders = (path for path in (output / "tables").iterdir() if (path / "_delta_log").is_dir())
    return {folder.name: DeltaTable(folder).to_pyarrow_table() for folder in folders}


def run_id(number: int) -> str:
    """The id of a run, from 0 on."""
    return f"{FIRST_RUN + timedelta(days=number):%Y%m%dT%H%M%S}-{number:06x}"


def make(library: Library) -> Path:
    """Make the library's tables and files, unless they are there; returns the output."""
    marker = library.output / "made"
    if marker.exists():
        return library.output
    shutil.rmtree(library.output, ignore_errors=True)
    _make_empty_tables(library)
    database = database_of(library)
    for number in range(RUNS):
        write_run(library, database, number)
    _append(library, "centroids", RUNS, _centroids(library))
    write_keys(library)
    for folder in (library.output / "tables").iterdir():
        DeltaTable(folder).create_checkpoint()
    _make_files(library)
    marker.touch()
    return library.output


def _make_empty_tables(library: Library) -> None:
    """Make the tables as a run makes them, with their checks and comments."""
    tables = Tables(connect({}, verbose=False), f"{library.output}/tables")
    for name in library.seed:
        tables.make(name)


def database_of(library: Library) -> duckdb.DuckDBPyConnection:
    """DuckDB with the seed's tables."""
    database = duckdb.connect()
    for name, rows in library.seed.items():
        database.register(f"seed_{name}", rows)
    return database


def write_run(library: Library, database: duckdb.DuckDBPyConnection, number: int) -> None:
    """Write the rows of one run, a file and a commit per table."""
    values = _values(library, number)
    database.execute(OF_RUN.format(**values))
    for name, query in QUERIES.items():
        rows = database.sql(query.format(**values)).to_arrow_table()
        if name in WITH_VECTORS:
            rows = rows.append_column("vector", _vectors(rows.column("clip_id"), WITH_VECTORS[name]))
        _append(library, name, number, rows)


def _values(library: Library, number: int) -> dict[str, Any]:
    """What the queries of a run are filled in with."""
    per_run = library.num_copies // RUNS
    end = (number + 1) * per_run
    return {
        "number": number,
        "per_run": per_run,
        "first": end - per_run,
        "end": end,
        "next_end": min(end + per_run, library.num_copies),
        "longer": LONGER,
        "scale": LONGER * library.num_copies // RUNS,  # of what a run counts
        "copy": LONGER - 1,
        "source": library.source,
        "output": library.output,
        "version": VERSION,
        "num_clusters": library.num_clusters,
        "run_id": run_id(number),
        "started_at": FIRST_RUN + timedelta(days=number),
    }


def _vectors(ids: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """A unit vector per clip with two numbers other than 0, as a list or as bytes."""
    first = np.array([int(text[:4], 16) for text in ids.to_pylist()])
    vectors = np.zeros((len(first), DIM), np.float32)
    rows = np.arange(len(first))
    vectors[rows, first % DIM] = WEIGHTS[0]
    vectors[rows, (first % DIM + 1 + first // DIM % (DIM - 1)) % DIM] = WEIGHTS[1]
    if kind == pa.binary():
        fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(4 * DIM), len(first), [None, pa.py_buffer(vectors)])
        return fixed.cast(pa.binary())
    offsets = np.arange(0, DIM * (len(first) + 1), DIM, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, vectors.ravel())


def _centroids(library: Library) -> pa.Table:
    """The centers: vectors of the seed, each a little moved, so that new clips lie near one."""
    dice = np.random.default_rng(0)
    real = np.array(library.seed["embeddings"].column("vector").to_pylist())
    centers = real[np.arange(library.num_clusters) % len(real)] + dice.normal(0, 0.02, (library.num_clusters, DIM))
    [row] = library.seed["centroids"].slice(0, 1).to_pylist()
    stamp = {"version": FITTED, "run_id": run_id(FITTED - 1)}
    rows = [row | stamp | {"cluster_id": i, "vector": center.tolist()} for i, center in enumerate(centers)]
    return pa.Table.from_pylist(rows, TABLES["centroids"].schema)


def write_keys(library: Library) -> None:
    """Write the keys of all clips that are kept: the least level of the table that holds them, a file per part."""
    folder = library.output / "tables"
    copies = pq.read_table(folder / "copies", columns=["clip_id", "copy_of"])
    ids = copies.filter(pc.is_null(copies.column("copy_of"))).column("clip_id").combine_chunks()
    num_keys = len(ids) * phash_lsh.num_keys(Params(), FRAMES)
    level = next(
        i for i in range(copy_keys.LAST_LEVEL + 1) if num_keys <= copy_keys.LEVEL_ROWS << copy_keys.LEVEL_BITS * i
    )
    num_parts = 1 << copy_keys.LEVEL_BITS * level
    fingerprint = library.seed["copies"].column("fingerprint")[0]
    dice, adds = np.random.default_rng(0), []
    for part in range(num_parts):
        number = num_keys * (part + 1) // num_parts - num_keys * part // num_parts
        keys = dice.integers(0, 2**64 // num_parts, number, np.uint64) + np.uint64(2**64 // num_parts * part)
        hashes = dice.integers(-(2**63), 2**63, FRAMES * number)
        table = pa.table(
            {
                "key": np.sort(keys.view(np.int64)),
                "clip_id": ids.take(dice.integers(0, len(ids), number)),
                "hashes": pa.ListArray.from_arrays(np.arange(0, FRAMES * number + 1, FRAMES, dtype=np.int32), hashes),
                "fingerprint": pa.repeat(fingerprint, number),
                "run_id": pa.repeat(run_id(0), number),
            }
        )
        place = copy_keys.FIRST_PARTS[level] + part
        path = Path("copy_keys", f"part={place}", "part-00000.parquet")
        adds.append(_added(library, path, table, part=str(place)))
    _commit(library, "copy_keys", adds)


def _append(library: Library, name: str, number: int, rows: pa.Table) -> None:
    """Add the rows to a table, as one file and one commit in Delta's log."""
    schema = TABLES[name].schema
    columns = [rows.column(field.name).cast(field.type) for field in schema]
    table = pa.Table.from_arrays(columns, names=schema.names)
    path = Path(name, f"part-{number:05}-{run_id(number)}.parquet")
    _commit(library, name, [_added(library, path, table)])


def _added(library: Library, path: Path, rows: pa.Table, **partition: str) -> dict[str, Any]:
    """Write a file of a table, TABLE/FILE; returns what Delta's log says of it."""
    place = library.output / "tables" / path
    place.parent.mkdir(exist_ok=True)
    page_rows = PAGE_ROWS if path.parts[0] in BY_CLUSTER else 20_000
    pages = {"write_page_index": True, "max_rows_per_page": page_rows, "write_batch_size": min(page_rows, 1024)}
    pq.write_table(rows, place, compression="zstd", compression_level=1, row_group_size=50_000, **pages)
    return {
        "path": str(path.relative_to(path.parts[0])),
        "partitionValues": partition,
        "size": place.stat().st_size,
        "modificationTime": FILE_NS // 10**6,
        "dataChange": True,
        "stats": json.dumps(_stats(rows)),
    }


def _commit(library: Library, name: str, adds: list[dict[str, Any]]) -> None:
    """Add files to a table, as one commit in Delta's log."""
    log = library.output / "tables" / name / "_delta_log"
    version = 1 + max(int(file.stem) for file in log.glob("*.json"))
    info = {"timestamp": FILE_NS // 10**6, "operation": "WRITE", "operationParameters": {"mode": "Append"}}
    lines = [{"commitInfo": info}, *({"add": add} for add in adds)]
    (log / f"{version:020}.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _stats(rows: pa.Table) -> dict[str, Any]:
    """Number of rows, and the bounds of some columns."""
    named = [name for name in STATS if name in rows.column_names and rows.column(name).null_count < rows.num_rows]
    bounds = {name: pc.min_max(rows.column(name)).as_py() for name in named}
    return {
        "numRecords": rows.num_rows,
        "minValues": {name: found["min"] for name, found in bounds.items()},
        "maxValues": {name: found["max"] for name, found in bounds.items()},
        "nullCount": {name: rows.column(name).null_count for name in named},
    }


def _make_files(library: Library) -> None:
    """Make the videos, as empty files that were changed at FILE_NS."""
    shutil.rmtree(library.source, ignore_errors=True)
    for uri in _uris(library):
        os.makedirs(os.path.dirname(uri), exist_ok=True)
        os.close(os.open(uri, os.O_CREAT | os.O_WRONLY))
        os.utime(uri, ns=(FILE_NS, FILE_NS))


def _uris(library: Library) -> Iterator[str]:
    """The addresses of the videos that are there, and of those that failed."""
    tables = library.output / "tables"
    yield from set(pq.read_table(tables / "videos", columns=["uri"]).column("uri").to_pylist())
    failures = pq.read_table(tables / "failures", columns=["stage", "key"])
    yield from failures.filter(pc.equal(failures.column("stage"), "ingest")).column("key").to_pylist()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
