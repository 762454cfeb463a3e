"""An output as maintain and takedown find it: rows of two settings, and of a run that was killed."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from jobs.config.settings import load
from jobs.lake.fingerprints import fingerprint
from schemas import TABLES
from tests.support.outputs import table
from tests.support.vectors import unit, write_embeddings
from udfs.storage import media_store

OLD_SETTINGS = ["clip.crf=30"]
VIDEOS = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"video {i}")) for i in range(5)]
CLIPS = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"clip {i}")) for i in range(10)]  # two a video
UNRECORDED = str(uuid.uuid5(uuid.NAMESPACE_URL, "a clip of a run that was killed"))


def add(output: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Append rows; columns that are not given are NULL, or a text where a table has no NULL."""
    filled = [{f.name: row.get(f.name, None if f.nullable else "x") for f in TABLES[name].schema} for row in rows]
    write_deltalake(output / "tables" / name, pa.Table.from_pylist(filled, schema=plain(name)), mode="append")


def plain(name: str) -> pa.Schema:
    """The columns of a table, each of which may be NULL."""
    return pa.schema([pa.field(f.name, f.type) for f in TABLES[name].schema])


def media(output: Path, clip_id: str, settings: list[str], age_h: float = 48.0) -> Path:
    """A media file of a clip as these settings name it, so many hours old."""
    path = Path(
        media_store.media_uri(f"{output}/media", "clips", clip_id, fingerprint("clip", load([], settings)), ".mp4")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip_id.encode())
    os.utime(path, (time.time() - 3600 * age_h,) * 2)
    return path


def write(output: Path) -> Path:
    """Five videos of two clips each, 2 and 4 copies of 0; five by the settings of before, and one of a killed run."""
    vectors = unit(np.random.default_rng(0).normal(size=(10, 16)))
    vectors[[2, 4]] = vectors[0]
    for settings, number in ((OLD_SETTINGS, 5), ([], 10)):
        uris = [str(media(output, clip, settings)) for clip in CLIPS[:number]]
        videos = [VIDEOS[i // 2] for i in range(number)]
        lengths = [100.0 - i for i in range(number)]
        write_embeddings(
            output, CLIPS[:number], vectors[:number], settings, video_id=videos, uri=uris, duration_s=lengths
        )
        stages = ("split", "clip", "analyze", "embed")
        by_stage = {stage: fingerprint(stage, load([], settings)) for stage in stages}
        when = datetime(2026, 1, number, tzinfo=UTC)
        add(output, "runs", [{"stage": stage, "fingerprint": by_stage[stage], "started_at": when} for stage in stages])
    spans = {row["clip_id"]: row for row in table(output, "spans")}  # both settings split alike
    write_deltalake(
        output / "tables" / "spans", pa.Table.from_pylist([*spans.values()], plain("spans")), mode="overwrite"
    )
    killed = {
        "clip_id": UNRECORDED,
        "video_id": VIDEOS[4],
        "uri": "gone",
        "fingerprint": "of a killed run",
        "run_id": "killed",
    }
    add(output, "spans", [killed | {"fingerprint": fingerprint("split", load([], [])), "start_s": 0.0, "end_s": 1.0}])
    add(output, "clips", [killed])
    add(
        output,
        "videos",
        [{"video_id": v, "uri": f"/videos/{i}.mp4", "content_tag": f"tag {i}"} for i, v in enumerate(VIDEOS)],
    )
    add(
        output,
        "failures",
        [{"key": CLIPS[1], "stage": "embed"}, {"key": "/videos/0.mp4", "stage": "ingest"}, {"key": "else"}],
    )
    add(output, "copies", [{"clip_id": CLIPS[9], "copy_of": CLIPS[0]}, {"clip_id": CLIPS[8]}])
    key = {"part": 0, "key": 1, "hashes": [1], "fingerprint": fingerprint("copies", load([], []))}
    add(output, "copy_keys", [key | {"clip_id": clip} for clip in (CLIPS[0], CLIPS[8], "of a clip that is gone")])
    return output


def held(output: Path, name: str, column: str = "clip_id") -> set[str]:
    return {row[column] for row in table(output, name)}
