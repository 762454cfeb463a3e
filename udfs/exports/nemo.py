"""nemo: a part's clips, sorted by video and time -> the files of NeMo Curator's ClipWriterStage, in its layout, by its names."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain
from dataclasses import field as made
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports.shards import CLIP, Clip, Part, records
from udfs.models.registry import KNOWN
from udfs.runtime.context import Row
from udfs.storage.remote_file import AnyPath, opened

Paths = Literal["relative", "absolute", "none"]
CLIPS_A_PART = 1000  # about; a part holds whole videos
CHUNK_SIZE = 8  # num_clips_per_chunk times this many seconds of clips make a chunk, as there
PICKLE = 4  # the protocol: what the library's default was for years, and any Python reads
EMBEDDING = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float64()))])
ENCODED = ("width", "height", "framerate", "num_frames", "video_codec", "num_bytes")
VIDEO = ("height", "width", "framerate", "num_frames", "duration", "video_codec", "pixel_format", "audio_format")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.nemo]"""

    input_path: Annotated[str, Field(description="folder that names of videos are told below; empty: the deepest of all")] = ""
    upload_clips: Annotated[bool, Field(description="write the mp4 files")] = True
    generate_embeddings: Annotated[bool, Field(description="write the vectors")] = True
    generate_previews: Annotated[bool, Field(description="write the previews")] = True
    generate_captions: Annotated[bool, Field(description="write the captions")] = True
    embedding_algorithm: Annotated[str, Field(description="only vectors of this model: internvideo2; empty: all")] = ""
    caption_models: Annotated[tuple[str, ...], Field(description="only captions of these: qwen2.5; empty: all")] = ()
    enhanced_caption_models: Annotated[tuple[str, ...], Field(description="only of these: qwen_lm; empty: all")] = ()
    num_clips_per_chunk: Annotated[int, Field(ge=1, description="times 8 s of clips of a video share a file of vectors")] = 32


@plain
class Chunk:
    """Clips of a video that have their vectors and their statistics in common files."""

    index: int
    clips: list[Clip] = made(default_factory=list)
    filtered: list[Clip] = made(default_factory=list)
    vectors: dict[str, list[Row]] = made(default_factory=dict)  # by the kind of model
    windows: dict[str, dict[str, str]] = made(default_factory=dict)
    enhanced: dict[str, dict[str, str]] = made(default_factory=dict)
    filtered_by: dict[str, int] = made(default_factory=lambda: {"motion": 0, "aesthetic": 0})
    num_with: dict[str, int] = made(default_factory=lambda: {"embeddings": 0, "caption": 0, "webp": 0})
    lengths_s: list[float] = made(default_factory=list)


def cost_sql(params: Params) -> tuple[str, int]:
    """What a clip takes of a part, and how much a part holds."""
    return "1", CLIPS_A_PART


def write(part: Part, batches: Iterator[pa.RecordBatch], params: Params, paths: Paths) -> None:
    """All files of the part's videos; `paths` says how documents name media files."""
    for _, rows in groupby(records(batches), key=lambda row: row[CLIP]["video_id"]):
        _write_video(part, rows, params, paths)


def span_uuid(row: Row) -> str:
    """NeMo Curator's id of a span: equal to its own where the address of the video, its rate and the span are."""
    if row["method"] == "transnetv2":
        start, end = row["start_frame"], row["end_frame"]
    else:
        start, end = (int(at_s * row["video"]["framerate"]) for at_s in row["span"])
    return _uuid(f"{address(row['source_video'])}_{start}_{end}")


def address(uri: str) -> str:
    """A video as NeMo Curator names it: a path, or bucket and key."""
    return uri.partition("://")[2] or uri


def kind(model: str) -> str:
    """What the folders of a model's vectors begin with."""
    name = label(model).lower()
    known = {"cosmos-embed1": "ce1", "internvideo2": "iv2"}
    return next((short for long, short in known.items() if name.startswith(long)), name)


def label(model: str) -> str:
    """A model of a row in one word: as `reelmill models` knows it, or the last of its name."""
    repo = model.partition("@")[0]
    known = next((name for name, checkpoint in KNOWN.items() if checkpoint.repo == repo), "")
    return known or re.sub(r"[^\w.-]", "_", repo.rstrip("/").rpartition("/")[2])


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _write_video(part: Part, rows: Iterator[Row], params: Params, paths: Paths) -> None:
    total, index, row = 0, 0, Row()
    for index, members in groupby(_chunked(rows, params.num_clips_per_chunk * CHUNK_SIZE), key=itemgetter(0)):
        chunk = Chunk(index)
        for _, row in members:
            total += _write_clip(part, chunk, row, params, paths)
        _write_chunk(part, chunk, row, params, paths)
    facts = {"video": _video(row, params, paths)} | {name: row["video"][name] for name in VIDEO}
    facts |= {"num_total_clips": total, "num_clip_chunks": index + 1}
    _json(part, f"processed_videos/{_below(row, params)}.json", facts, [Clip(None, row[CLIP]["video_id"], None)])


def _chunked(rows: Iterator[Row], seconds: int) -> Iterator[tuple[int, Row]]:
    """Each clip with the number of its chunk, which is full once whole seconds of its clips reach so many."""
    index = size = 0
    for row in rows:
        if size >= seconds:
            index, size = index + 1, 0
        size += int(_length(row))
        yield index, row


def _length(row: Row) -> float:
    """Seconds."""
    return float(row["span"][1] - row["span"][0])


def _write_clip(part: Part, chunk: Chunk, row: Row, params: Params, paths: Paths) -> bool:
    """The files of one clip, and what its chunk has to know; false if its mp4 cannot be read."""
    media = part.media(row)
    if media is None:
        return False
    clip = Clip(row["clip_id"], row[CLIP]["video_id"], span_uuid(row))
    folder = "clips" if row["kept"] else "filtered_clips"
    if params.upload_clips:
        with part.file(f"{folder}/{clip.name}.mp4", [clip], shared=False) as path:
            _copy(media, path)
    (chunk.clips if row["kept"] else chunk.filtered).append(clip)
    chunk.lengths_s.append(_length(row))
    for gate in chunk.filtered_by:
        chunk.filtered_by[gate] += any(reason.startswith(gate) for reason in row["reasons"] or [])
    windows = _windows(row, params) if row["kept"] else []
    if row["kept"]:
        _count(chunk, clip, windows, row, params)
        chunk.num_with["webp"] += _write_previews(part, clip, row, params)
        chunk.num_with["embeddings"] += _write_vectors(part, chunk, clip, row, params)
    location = {"relative": f"{folder}/{clip.name}.mp4", "absolute": f"{part.to}/{folder}/{clip.name}.mp4", "none": None}
    names = {"source_video": _video(row, params, paths), "clip_location": location[paths]}
    _json(part, f"metas/v0/{clip.name}.json", _meta(row, clip, names, windows), [clip], shared=False)
    return True


def _meta(row: Row, clip: Clip, names: Row, windows: list[Row]) -> Row:
    video = row["video"]
    facts = {
        "span_uuid": clip.name,
        "source_video": names["source_video"],
        "duration_span": row["span"],
        **{f"{name}_source": video[name] for name in ("width", "height", "framerate")},
        "clip_location": names["clip_location"],
        **{name: row["encoded"][name] for name in ENCODED},
    }
    if row["motion_score"]["global_mean"] is not None:
        facts["motion_score"] = row["motion_score"]
    if row["aesthetic_score"] is not None:
        facts["aesthetic_score"] = row["aesthetic_score"]
    if row["errors"]:
        facts["errors"] = row["errors"]
    shown = [{name: value for name, value in window.items() if not name.startswith("_")} for window in windows]
    return facts | {"windows": shown, "valid": bool(windows)}


def _windows(row: Row, params: Params) -> list[Row]:
    """The windows that have a preview or a caption, in their order, with what each model says of them."""
    found: dict[tuple[int, int], Row] = {}
    told = row["captions"] or [] if params.generate_captions else []
    for part in (row["previews"] or [] if params.generate_previews else []) + told:
        ends = (part["start_frame"], part["end_frame"])
        found.setdefault(ends, {"start_frame": ends[0], "end_frame": ends[1]})
    for caption in told:
        window = found[caption["start_frame"], caption["end_frame"]]
        name = label(caption["model"])
        if not params.caption_models or name in params.caption_models:
            window[f"{name}_caption"] = caption["stage2_caption"] or caption["caption"]
        name = label(caption["enhanced_model"] or "").replace("-", "_")
        if name and (not params.enhanced_caption_models or name in params.enhanced_caption_models):
            window[f"{name}_enhanced_caption"] = caption["enhanced_caption"]
    return [found[ends] for ends in sorted(found)]


def _count(chunk: Chunk, clip: Clip, windows: list[Row], row: Row, params: Params) -> None:
    name = str(clip.name)
    chunk.windows[name], chunk.enhanced[name] = {}, {}
    for window in windows:
        key = f"{window['start_frame']}_{window['end_frame']}"
        enhanced = _first(window, "_enhanced_caption", params.enhanced_caption_models)
        caption = _first(window, "_caption", params.caption_models)
        chunk.windows[name] |= {key: caption} if caption else {}
        chunk.enhanced[name] |= {key: enhanced} if enhanced else {}
    chunk.num_with["caption"] += bool(chunk.windows[name])


def _first(window: Row, suffix: str, models: Sequence[str]) -> str | None:
    """What the first of the models says of a window; of any, in their order, where none are named."""
    names = [f"{model}{suffix}" for model in models] or sorted(window)
    fits = (n for n in names if n.endswith(suffix) and n.endswith("_enhanced_caption") == (suffix == "_enhanced_caption"))
    return next((window[name] for name in fits if window.get(name)), None)


def _write_previews(part: Part, clip: Clip, row: Row, params: Params) -> bool:
    found = False
    for preview in row["previews"] or [] if params.generate_previews else []:
        if path := part.readable(row["clip_id"], preview["uri"]):
            name = f"previews/{clip.name}/{preview['start_frame']}_{preview['end_frame']}.webp"
            with part.file(name, [clip], shared=False) as to:
                _copy(path, to)
            found = True
    return found


def _write_vectors(part: Part, chunk: Chunk, clip: Clip, row: Row, params: Params) -> bool:
    found = False
    for embedding in row["embeddings"] or [] if params.generate_embeddings else []:
        if not label(embedding["model"]).lower().startswith(params.embedding_algorithm.lower()):
            continue
        folder = kind(embedding["model"])
        with part.file(f"{folder}_embd/{clip.name}.pickle", [clip], shared=False) as path, open(path, "wb") as file:
            pickle.dump(np.array([embedding["vector"]], np.float32), file, PICKLE)
        chunk.vectors.setdefault(folder, []).append({"id": clip.name, "embedding": embedding["vector"]})
        found = True
    return found


def _write_chunk(part: Part, chunk: Chunk, row: Row, params: Params, paths: Paths) -> None:
    video, every = address(row["source_video"]), [*chunk.clips, *chunk.filtered]
    for folder, vectors in chunk.vectors.items():
        named = {vector["id"] for vector in vectors}
        path = f"{folder}_embd_parquet/{_uuid(f'{video}_{chunk.index}')}.parquet"
        with part.file(path, [clip for clip in every if clip.name in named]) as to:
            pq.write_table(pa.Table.from_pylist(vectors, EMBEDDING), to)
    facts = {
        "video": _video(row, params, paths),
        "clip_chunk_index": chunk.index,
        **{f"num_clips_filtered_by_{gate}": count for gate, count in chunk.filtered_by.items()},
        "num_clips_passed": len(chunk.clips),
        "num_clips_transcoded": len(every),
        **{f"num_clips_with_{what}": count for what, count in chunk.num_with.items()},
        "total_clip_duration": sum(chunk.lengths_s),
        "max_clip_duration": max(chunk.lengths_s, default=0.0),
        "clips": [clip.name for clip in chunk.clips],
        "filtered_clips": [clip.name for clip in chunk.filtered],
        "all_windows": chunk.windows,
        "all_windows_enhanced_caption": chunk.enhanced,
    }
    _json(part, f"processed_clip_chunks/{_below(row, params)}_{chunk.index}.json", facts, every)


def _video(row: Row, params: Params, paths: Paths) -> str | None:
    """The source video's name in a document."""
    if paths == "none":
        return None
    return address(row["source_video"]) if paths == "absolute" else _below(row, params)


def _copy(path: AnyPath, to: str) -> None:
    with opened(path) as file, open(to, "wb") as copy:
        shutil.copyfileobj(file, copy)


def _below(row: Row, params: Params) -> str:
    """The video's name below the folder of all."""
    path, folder = address(row["source_video"]), address(params.input_path).rstrip("/")
    if folder and not path.startswith(f"{folder}/"):
        raise ValueError(f"export.nemo.input_path: {path} is not below {folder}")
    below = path[len(folder) :].lstrip("/")
    if ".." in below.split("/"):
        raise ValueError(f"{path}: would be written outside the export")
    return below


def _json(part: Part, path: str, facts: Row, clips: list[Clip], *, shared: bool = True) -> None:
    with part.file(path, clips, shared=shared) as to, open(to, "w", encoding="utf-8") as file:
        json.dump(facts, file, ensure_ascii=False)
