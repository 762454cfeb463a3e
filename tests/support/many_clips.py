"""Outputs of many clips with scores, verdicts, captions and previews, written without Spark and decoded by no one."""

from __future__ import annotations

import json
import os
import random
import uuid
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from PIL import Image

from tests.support import small_output
from udfs import filter
from udfs.similarity.kmeans import min_cosine

PARAMS = replace(filter.Params(), motion=True, blurred=True, black=True, blur_threshold=31.25)
CLIPS_PER_VIDEO = 50
RUNS = 9  # the last of which made everything
NUM_PICTURES = 24  # different previews
FINGERPRINT = "0123456789abcdef"
WORDS = (
    "red",
    "car",
    "two",
    "dogs",
    "near",
    "an",
    "old",
    "bridge",
    "while",
    "people",
    "walk",
    "along",
    "river",
    "night",
)
# Texts that would act if a page took them for anything but text.
HOSTILE = (
    "<img src=x onerror=\"document.body.dataset.hacked='yes'\">",
    "</script><script>document.body.dataset.hacked='yes'</script>",
    "\"' onload=alert(1) x='",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "javascript:document.body.dataset.hacked='yes'",
    "\u202eright to left\u202c \x1b[2J \x00 \ufeff",
    "averyverylongwordwithoutanyblank" * 20,
)


def write(output: Path, num_clips: int, *, hostile: bool = False, num_previews: int = 0, seed: int = 0) -> Path:
    """Write an output whose verdicts are those of PARAMS; the first clips have previews.

    Every seventh clip is a duplicate, every tenth lacks its motion, every third has a caption.
    """
    chance = random.Random(seed)
    clips = [_clip(output, number, chance, hostile=hostile) for number in range(num_clips)]
    kept = [clip["clip_id"] for clip in clips if clip["kept"]]
    duplicates = [_link(clip, chance.choice(kept)) for clip in clips if "duplicate" in clip["reasons"]]
    videos = {clip["video_id"]: clip["video_uri"] for clip in clips}
    small_output.fill(
        output, "videos", [{"video_id": v, "uri": uri, "duration_s": 600.0} for v, uri in videos.items()], "ingest"
    )
    of_run = {"run_id": _run_id(RUNS - 1), "cpu_s": 0.25}
    small_output.fill(output, "spans", [clip | of_run for clip in clips], "split")
    small_output.fill(output, "clips", [clip | of_run | {"cpu_s": clip["duration_s"]} for clip in clips], "clip")
    small_output.fill(output, "verdicts", clips, "filter")
    small_output.fill(output, "signals", [_signal(output, clip) for clip in clips], "analyze")
    small_output.fill(output, "duplicates", duplicates, "dedup")
    small_output.fill(output, "failures", [*_failures(clips, hostile=hostile)], "ingest")
    small_output.fill(output, "runs", [*_runs(num_clips)], "")
    _write_previews(output, clips[:num_previews])
    return output


def multiplied(output: Path, times: int) -> Path:
    """Make an output have so many times as many clips, in as many times the videos; the new ones have no previews."""
    for name in ("verdicts", "spans", "clips"):
        path = output / "tables" / name
        rows = DeltaTable(path).to_pyarrow_table()
        for number in range(1, times):
            write_deltalake(path, _with_other_ids(rows, number), mode="append")
    return output


def _with_other_ids(rows: pa.Table, number: int) -> pa.Table:
    """The rows of other clips of other videos."""
    for name, start in (("clip_id", 9), ("video_id", 9), ("video_uri", 1)):
        if name in rows.column_names:
            values = pc.binary_replace_slice(rows[name].cast(pa.binary()), start, start + 4, f"{number:04x}".encode())
            rows = rows.set_column(rows.column_names.index(name), name, values.cast(pa.string()))
    return rows


def _clip(output: Path, number: int, chance: random.Random, *, hostile: bool) -> dict[str, Any]:
    clip_id = str(uuid.UUID(int=chance.getrandbits(128), version=5))
    video = number // CLIPS_PER_VIDEO
    seconds = chance.randrange(2000, 12000) / 1000
    text = " ".join(chance.choices(WORDS, k=16)) if number % 3 == 0 else None
    bad = HOSTILE[number % len(HOSTILE)] if hostile else ""
    row: dict[str, Any] = {
        "clip_id": clip_id,
        "video_id": str(uuid.UUID(int=video, version=5)),
        "video_uri": f"/videos/{bad.replace('/', '-')}{video:05}.mp4",
        "start_s": float(number % CLIPS_PER_VIDEO * 12),
        "end_s": number % CLIPS_PER_VIDEO * 12 + seconds,
        "duration_s": seconds,
        "uri": f"{output}/media/clips/{clip_id[:2]}/{clip_id}-{FINGERPRINT[:8]}.mp4",
        "caption": f"{bad} {text}".strip() if text else None,
        "num_captions": int(text is not None),
        "cut_run_id": _run_id(RUNS - 1),
        "measured": True,
        "motion_score_global_mean": None if number % 10 == 9 else round(chance.lognormvariate(-6, 1.2), 9),
        "motion_score_per_patch_min_256": round(chance.lognormvariate(-12, 2), 12),
        "blackness": max(0.0, round(chance.gauss(0, 0.4), 4)),
        "freeze": round(chance.random() ** 4, 4),
        "blur": round(chance.lognormvariate(5, 1.5), 5),
        "letterbox": [0, 30, 640, chance.randrange(200, 330)],
        "width": 640,
        "height": 360,
        **_similarity(number, chance),
    }
    reasons = [*_reasons(row)]
    return row | {"reasons": reasons, "kept": not reasons}


def _similarity(number: int, chance: random.Random) -> dict[str, Any]:
    if number % 7 == 0:
        return {"link_method": "semantic", "similarity": round(1 - chance.random() * 0.2, 6)}
    return {"link_method": "phash", "similarity": 0.97} if number % 91 == 1 else {}


def _reasons(row: dict[str, Any]) -> Any:
    """The reasons by PARAMS, as `filter` finds them."""
    p, motion = PARAMS, row["motion_score_global_mean"]
    if motion is not None and motion < p.motion_global_mean_threshold:
        yield "motion_global_mean_low"
    if row["motion_score_per_patch_min_256"] < p.motion_per_patch_min_256_threshold:
        yield "motion_patch_min_low"
    if row["blackness"] > p.blackness_threshold:
        yield "black"
    if row["blur"] < p.blur_threshold:
        yield "blurred"
    if row.get("link_method") == "phash" or (row.get("similarity") or 0) >= min_cosine(p.duplicate_eps):
        yield "duplicate"


def _link(clip: dict[str, Any], kept: str) -> dict[str, Any]:
    clip["duplicate_of"] = kept
    return {
        "clip_id": clip["clip_id"],
        "method": clip["link_method"],
        "duplicate_of": kept,
        "similarity": clip["similarity"],
    }


def _signal(output: Path, clip: dict[str, Any]) -> dict[str, Any]:
    return {
        "clip_id": clip["clip_id"],
        "run_id": _run_id(RUNS - 1),
        "cpu_s": 1.0,
        "previews": [{"start_frame": 0, "end_frame": 99, "uri": str(_preview(output, clip["clip_id"]))}],
    }


def _preview(output: Path, clip_id: str) -> Path:
    return output / "media/previews" / clip_id[:2] / f"{clip_id}-{FINGERPRINT[:8]}-0_99.webp"


def _failures(clips: list[dict[str, Any]], *, hostile: bool) -> Any:
    bad = HOSTILE[0] if hostile else "moov atom not found"
    files = [("ingest", "CORRUPT", f"/videos/broken-{number}.mp4") for number in range(5)]
    of_clips = [("analyze", "TIMEOUT", clip["clip_id"]) for clip in clips[:2]]
    for number, (stage, code, key) in enumerate(files + of_clips):
        yield {
            "key": key,
            "stage": stage,
            "code": code,
            "message": bad,
            "failed_at": small_output.START + timedelta(seconds=number),
            "run_id": _run_id(RUNS - 1),
        }


def _run_id(number: int) -> str:
    return f"202605{number + 1:02}T123000-abcdef"


def _runs(num_clips: int) -> Any:
    """Rows of runs: the last one has the fingerprints that count."""
    conf = json.dumps({"filter": asdict(PARAMS), "split": {"method": "content"}, "spark": {"spark.my.token": "secret"}})
    for number in range(RUNS):
        began = small_output.START + timedelta(days=number)
        for place, stage in enumerate(small_output.STAGES):
            took = timedelta(seconds=10 + place + number % 3)
            yield _of_stage(stage, number, began + timedelta(minutes=place), took, conf, num_clips)


def _of_stage(stage: str, number: int, began: datetime, took: timedelta, conf: str, num_clips: int) -> dict[str, Any]:
    return {
        "stage": stage,
        "run_id": _run_id(number),
        "started_at": began,
        "ended_at": began + took,
        "num_in": num_clips,
        "num_out": num_clips,
        "num_failed": 7 if stage == "ingest" else 0,
        "cpu_s": took.total_seconds() * 1.8,
        "gpu_s": took.total_seconds() / 2 if stage == "embed" else None,
        "media_s": num_clips * 7.0,
        "cost_usd": 0.01 * took.total_seconds(),
        "conf": conf,
        "versions": {"reelmill": "0.2.0", "av": "18.1.0"},
        "fingerprint": stage,
    }


def _write_previews(output: Path, clips: list[dict[str, Any]]) -> None:
    """Give clips previews, which are links to a few different pictures."""
    pictures = output / "pictures"
    pictures.mkdir()
    for number in range(min(NUM_PICTURES, len(clips))):
        _write_picture(pictures / f"{number}.webp", number)
    for number, clip in enumerate(clips):
        path = _preview(output, clip["clip_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(pictures / f"{number % NUM_PICTURES}.webp", path)


def _write_picture(path: Path, number: int) -> None:
    """An animation of ten frames, as large as previews are: a bar that moves over a gradient."""
    gradient = Image.linear_gradient("L").resize((426, 240))
    frames = []
    for step in range(10):
        frame = Image.merge("RGB", (gradient, gradient.rotate(180), Image.new("L", gradient.size, number * 10)))
        frame.paste((255, 255, 255), (step * 40, 0, step * 40 + 20, 240))
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=1000, loop=0, quality=50)
