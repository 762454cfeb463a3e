"""A small output of literal rows, written without Spark: two videos, four clips, odd values of every type."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from schemas import TABLES

START = datetime(2026, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)
DEFAULTS = {pa.string(): "", pa.int32(): 1, pa.int64(): 1, pa.float64(): 0.0, pa.bool_(): False}
PREVIEW = {"start_frame": 0, "end_frame": 29, "uri": "/out/media/previews/c1.webp"}
VIDEOS: list[dict[str, Any]] = [
    {"video_id": "v1", "uri": "/v/park.mp4", "duration_s": 30.0, "attributes": {"license": "cc-by", "who": None}},
    {"video_id": "v2", "uri": "/v/drive.mp4", "duration_s": 12.5, "attributes": None, "audio_start_s": None},
    {"video_id": "v0", "uri": "/v/drive.mp4", "duration_s": 99.0, "run_id": "0"},  # replaced by v2
]
CLIPS = {"c1": ("v1", 0.0, 4.5), "c2": ("v1", 4.5, 10.0), "c3": ("v2", 0.0, 6.25), "c4": ("v2", 6.25, 12.5)}
SIGNALS: list[dict[str, Any]] = [
    {"clip_id": "c1", "motion_score_global_mean": 0.00123456, "previews": [PREVIEW], "phash": ["00ff", "0f0f"]},
    {"clip_id": "c2", "motion_score_global_mean": None, "previews": [], "letterbox": [0, 2, 64, 32]},
    {"clip_id": "c3", "motion_score_global_mean": math.inf, "previews": None},
]
VERDICTS: list[dict[str, Any]] = [
    {"clip_id": "c1", "video_id": "v1", "kept": True, "reasons": []},
    {"clip_id": "c2", "video_id": "v1", "kept": False, "reasons": ["motion", "blur"]},
    {"clip_id": "c3", "video_id": "v2", "kept": True, "reasons": []},
    {"clip_id": "c4", "video_id": "v2", "kept": False, "reasons": ["duplicate"], "duplicate_of": "c1"},
]
DUPLICATES: list[dict[str, Any]] = [
    {"clip_id": "c4", "method": "phash", "duplicate_of": "c1", "similarity": 0.992},
    {"clip_id": "c2", "method": "semantic", "duplicate_of": "c1", "similarity": 0.123456789},
]
EMBEDDINGS: list[dict[str, Any]] = [
    {"clip_id": "c1", "model": "tiny", "dim": 2, "vector": [0.6, 0.8], "text_scores": {"a dog": 0.25, "a cat": 0.5}},
    {"clip_id": "c3", "model": "tiny", "dim": 2, "vector": [0.0, 1.0]},
]
CAPTIONS: list[dict[str, Any]] = [
    {"clip_id": "c1", "start_frame": 30, "end_frame": 59, "model": "m", "prompt": "p", "caption": "two\nlines | a bar"},
    {
        "clip_id": "c1",
        "start_frame": 0,
        "end_frame": 29,
        "model": "m",
        "prompt": "p",
        "caption": "\x1b[2J" + "so " * 40,
    },
]
FAILURES: list[dict[str, Any]] = [
    {
        "key": "/v/bad.mp4",
        "stage": "ingest",
        "code": "CORRUPT",
        "message": "it's bad",
        "failed_at": START,
        "run_id": "9",
    }
]
OF_CLIP = {"cut_run_id": "1", "measured": True, "num_previews": 0}
SCORES: dict[str, dict[str, Any]] = {
    "c1": {"motion_score_global_mean": 0.00123456, "num_previews": 1, "num_captions": 2, "embedding_model": "tiny"},
    "c2": {"letterbox": [0, 2, 64, 32], "link_method": "semantic", "similarity": 0.123456789},
    "c3": {"motion_score_global_mean": math.inf, "num_previews": None, "embedding_model": "tiny"},
    "c4": {"link_method": "phash", "similarity": 0.992, "measured": False, "num_previews": None},
}
STAGES = ("ingest", "split", "clip", "analyze", "embed", "caption", "dedup", "filter")


def write(output: Path) -> Path:
    """Write the tables; those of copies, aesthetics, enhanced captions, alignments and takedowns were never made."""
    of_clips: list[dict[str, Any]] = [
        {"clip_id": clip, "video_id": video, "start_s": a, "end_s": b} for clip, (video, a, b) in CLIPS.items()
    ]
    files = [
        row | {"uri": f"/out/{row['clip_id']}.mp4", "duration_s": row["end_s"] - row["start_s"]} for row in of_clips
    ]
    uris = {row["video_id"]: row["uri"] for row in VIDEOS}
    verdicts = [
        {**found, **OF_CLIP, **SCORES[row["clip_id"]], **row, "video_uri": uris[row["video_id"]]}
        for row, found in zip(VERDICTS, files, strict=True)
    ]
    old: dict[str, Any] = {"clip_id": "old", "video_id": "v1", "fingerprint": "earlier settings", "uri": "/out/old.mp4"}
    numbers = {"num_in": 4, "num_out": 3, "num_failed": 1, "cpu_s": 1.25, "cost_usd": None}
    of_run = {"run_id": "1", "started_at": START, "ended_at": START, "conf": "{}", "versions": {"reelmill": "0.2.0"}}
    runs: list[dict[str, Any]] = [{"stage": stage, "fingerprint": stage, **of_run, **numbers} for stage in STAGES]
    before: list[dict[str, Any]] = [
        {"stage": "clip", "run_id": "0", "started_at": START.replace(year=2025), "fingerprint": "earlier settings"}
    ]
    fill(output, "videos", VIDEOS, "ingest")
    fill(output, "spans", of_clips, "split")
    fill(output, "clips", [*files, old], "clip")
    fill(output, "signals", SIGNALS, "analyze")
    fill(output, "verdicts", verdicts, "filter")
    fill(output, "duplicates", DUPLICATES, "dedup")
    fill(output, "embeddings", EMBEDDINGS, "embed")
    fill(output, "captions", CAPTIONS, "caption")
    fill(output, "failures", FAILURES, "ingest")
    fill(output, "runs", [*runs, *before], "")
    return output


def write_reduced(output: Path) -> Path:
    """Write a clip whose aesthetic score `filter` took from the mean of its frames (5), and not from the least (3)."""
    scores = {"aesthetic_score_min": 3.0, "aesthetic_score_mean": 5.0}
    conf = json.dumps({"filter": {"aesthetic_reduction": "mean"}})
    fill(output, "verdicts", [{**VERDICTS[0], **OF_CLIP, **scores}], "filter")
    fill(output, "runs", [{"stage": "filter", "started_at": START, "ended_at": START, "conf": conf}], "filter")
    return output


def fill(output: Path, name: str, rows: list[dict[str, Any]], fingerprint: str) -> None:
    """Write a table; columns that a row leaves out and that must have a value get one."""
    schema = TABLES[name].schema
    needed = {field.name: DEFAULTS[field.type] for field in schema if not field.nullable and field.type in DEFAULTS}
    whole = [{**needed, "fingerprint": fingerprint, "run_id": "1", **row} for row in rows]
    declared = [{key: value for key, value in row.items() if key in schema.names} for row in whole]
    write_deltalake(output / "tables" / name, pa.Table.from_pylist(declared, schema))
