"""nemo: an export in the layout of NeMo Curator's ClipWriterStage, with its file and field names.

The rows of a part come sorted by video and time.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.words import spelled
from udfs.exports import nemo_paths
from udfs.exports.shards import CLIP, Clip, Part, records
from udfs.models.registry import KNOWN, REWRITERS, known_name
from udfs.runtime.context import Row
from udfs.storage.remote_file import AnyPath, open_path

Paths = Literal["relative", "absolute", "none"]
CLIPS_PER_PART = 1000  # approximately; a part holds whole videos
CHUNK_CLIP_S = 8  # seconds; a chunk holds num_clips_per_chunk times as many, as in NeMo Curator
PICKLE_PROTOCOL = 4  # the default of Python 3.8 to 3.13
EMBEDDING = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float64()))])
ENCODED_FIELDS = ("width", "height", "framerate", "num_frames", "video_codec", "num_bytes")
VIDEO_FIELDS = ("height", "width", "framerate", "num_frames", "duration", "video_codec", "pixel_format", "audio_format")
# What the folders of vectors begin with, by the start of a model's name.
PREFIXES = {"cosmos-embed1": nemo_paths.COSMOS_EMBED1, "internvideo2": nemo_paths.INTERN_VIDEO2}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.nemo]"""

    input_path: Annotated[
        str, Field(description="folder to which video paths are relative; empty: the deepest common one")
    ] = ""
    upload_clips: Annotated[bool, Field(description="write the mp4 files")] = True
    generate_embeddings: Annotated[bool, Field(description="write the vectors")] = True
    generate_previews: Annotated[bool, Field(description="write the previews")] = True
    generate_captions: Annotated[bool, Field(description="write the captions")] = True
    embedding_algorithm: Annotated[
        str, Field(description="export vectors of this model only, such as internvideo2; empty: all")
    ] = ""
    caption_models: Annotated[
        tuple[str, ...], Field(description="export captions of these only, such as qwen2.5; empty: all")
    ] = ()
    enhanced_caption_models: Annotated[
        tuple[str, ...], Field(description="export captions of these only, such as qwen_lm; empty: all")
    ] = ()
    num_clips_per_chunk: Annotated[
        int, Field(ge=1, description="times 8 s of clips of a video share a file of vectors")
    ] = 32


@dataclasses.dataclass
class Chunk:
    """Consecutive clips of a video that share files of vectors and statistics."""

    index: int
    clips: list[Clip] = dataclasses.field(default_factory=list)
    filtered: list[Clip] = dataclasses.field(default_factory=list)
    vectors: dict[str, list[Row]] = dataclasses.field(default_factory=dict)  # by folder prefix of the model
    windows: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    enhanced: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    filtered_by: dict[str, int] = dataclasses.field(default_factory=lambda: {"motion": 0, "aesthetic": 0})
    num_with: dict[str, int] = dataclasses.field(default_factory=lambda: {"embeddings": 0, "caption": 0, "webp": 0})
    lengths_s: list[float] = dataclasses.field(default_factory=list)


def cost_sql(params: Params) -> tuple[str, int]:
    """SQL for the size of a clip, and the size of a full part, in the same unit."""
    return "1", CLIPS_PER_PART


def write(part: Part, batches: Iterator[pa.RecordBatch], params: Params, paths: Paths) -> None:
    """Write all files of the part's videos; `paths` says how documents name media files.

    Raises:
        ValueError: a video is not below `input_path`, or its path leads out of the export.
    """
    for _, rows in groupby(records(batches), key=lambda row: row[CLIP]["video_id"]):
        _write_video(part, rows, params, paths)


def span_uuid(row: Row) -> str:
    """NeMo Curator's id of a span.

    It equals NeMo Curator's own where the video's address, its frame rate and the span are equal.
    """
    if row["method"] == "transnetv2":
        start, end = row["start_frame"], row["end_frame"]
    else:
        start, end = (int(at_s * row["video"]["framerate"]) for at_s in row["span"])
    return _uuid(f"{source_address(row['source_video'])}_{start}_{end}")


def source_address(uri: str) -> str:
    """A video as NeMo Curator names it: a path, or bucket/key."""
    return uri.partition("://")[2] or uri


def folder_prefix(model: str) -> str:
    """The prefix of the folders of a model's vectors, such as ce1 or iv2."""
    name = model_label(model).lower()
    return next((short for long, short in PREFIXES.items() if name.startswith(long)), name)


def model_label(model: str) -> str:
    """A row's model in one word: its name in `reelmill models`, else its repository's last part."""
    repo = model.partition("@")[0]
    registered = next((name for name, checkpoint in KNOWN.items() if checkpoint.repo == repo), "")
    return registered or re.sub(r"[^\w.-]", "_", repo.rstrip("/").rpartition("/")[2])


def enhanced_label(model: str) -> str:
    """`model_label` of a model that rewrote captions, as field names have it: qwen_lm."""
    return model_label(model).replace("-", "_")


def caption_labels(names: Iterable[str]) -> list[str]:
    """The labels that users' names of caption models may mean, in order."""
    return [label for name in names for label in (name, model_label(known_name(name) or name))]


def enhanced_labels(names: Iterable[str]) -> list[str]:
    """The labels that users' names of enhancing models may mean, in order."""
    return [label for name in names for label in (name, enhanced_label(known_name(name, REWRITERS) or name))]


def is_vector_of(model: str, algorithm: str) -> bool:
    """Whether a user's name of a model, or the start of one as in NeMo Curator, means the model of a vector."""
    return spelled(model_label(model)).startswith((spelled(algorithm), spelled(known_name(algorithm) or algorithm)))


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _write_video(part: Part, rows: Iterator[Row], params: Params, paths: Paths) -> None:
    total, index, row = 0, 0, Row()
    for index, members in groupby(
        _numbered_by_chunk(rows, params.num_clips_per_chunk * CHUNK_CLIP_S), key=itemgetter(0)
    ):
        chunk = Chunk(index)
        for _, row in members:
            total += _write_clip(part, chunk, row, params, paths)
        _write_chunk(part, chunk, row, params, paths)
    facts = {"video": _video_name(row, params, paths)} | {name: row["video"][name] for name in VIDEO_FIELDS}
    facts |= {"num_total_clips": total, "num_clip_chunks": index + 1}
    _write_json(
        part,
        f"{nemo_paths.PROCESSED_VIDEOS}/{_relative_path(row, params)}.json",
        facts,
        [Clip(None, row[CLIP]["video_id"], None)],
    )


def _numbered_by_chunk(rows: Iterator[Row], seconds: int) -> Iterator[tuple[int, Row]]:
    """Each clip with the number of its chunk; `seconds` whole seconds of clips fill a chunk."""
    index = size = 0
    for row in rows:
        if size >= seconds:
            index, size = index + 1, 0
        size += int(_length_s(row))
        yield index, row


def _length_s(row: Row) -> float:
    return float(row["span"][1] - row["span"][0])


def _write_clip(part: Part, chunk: Chunk, row: Row, params: Params, paths: Paths) -> bool:
    """Write the files of one clip and add it to its chunk; false if its mp4 cannot be read."""
    media = part.media(row)
    if media is None:
        return False
    clip = Clip(row["clip_id"], row[CLIP]["video_id"], span_uuid(row))
    folder = nemo_paths.CLIPS if row["kept"] else nemo_paths.FILTERED_CLIPS
    if params.upload_clips:
        with part.file(f"{folder}/{clip.name}.mp4", [clip], shared=False) as path:
            _copy_file(media, path)
    (chunk.clips if row["kept"] else chunk.filtered).append(clip)
    chunk.lengths_s.append(_length_s(row))
    for gate in chunk.filtered_by:
        chunk.filtered_by[gate] += any(reason.startswith(gate) for reason in row["reasons"] or [])
    windows = _windows(row, params) if row["kept"] else []
    if row["kept"]:
        _add_captions(chunk, clip, windows, row, params)
        chunk.num_with["webp"] += _write_previews(part, clip, row, params)
        chunk.num_with["embeddings"] += _write_vectors(part, chunk, clip, row, params)
    location = {
        "relative": f"{folder}/{clip.name}.mp4",
        "absolute": f"{part.to}/{folder}/{clip.name}.mp4",
        "none": None,
    }
    names = {"source_video": _video_name(row, params, paths), "clip_location": location[paths]}
    _write_json(
        part,
        f"{nemo_paths.METAS}/{nemo_paths.VERSION}/{clip.name}.json",
        _meta(row, clip, names, windows),
        [clip],
        shared=False,
    )
    return True


def _meta(row: Row, clip: Clip, names: Row, windows: list[Row]) -> Row:
    video = row["video"]
    facts = {
        "span_uuid": clip.name,
        "source_video": names["source_video"],
        "duration_span": row["span"],
        **{f"{name}_source": video[name] for name in ("width", "height", "framerate")},
        "clip_location": names["clip_location"],
        **{name: row["encoded"][name] for name in ENCODED_FIELDS},
    }
    if row["motion_score"]["global_mean"] is not None:
        facts["motion_score"] = row["motion_score"]
    if row["aesthetic_score"] is not None:
        facts["aesthetic_score"] = row["aesthetic_score"]
    if row["errors"]:
        facts["errors"] = row["errors"]
    public_windows = [{name: value for name, value in window.items() if not name.startswith("_")} for window in windows]
    return facts | {"windows": public_windows, "valid": bool(windows)}


def _windows(row: Row, params: Params) -> list[Row]:
    """The windows with a preview or a caption, in order, with the captions of each model."""
    windows: dict[tuple[int, int], Row] = {}
    wanted, wanted_enhanced = caption_labels(params.caption_models), enhanced_labels(params.enhanced_caption_models)
    captions = row["captions"] or [] if params.generate_captions else []
    for entry in (row["previews"] or [] if params.generate_previews else []) + captions:
        ends = (entry["start_frame"], entry["end_frame"])
        windows.setdefault(ends, {"start_frame": ends[0], "end_frame": ends[1]})
    for caption in captions:
        window = windows[caption["start_frame"], caption["end_frame"]]
        name = model_label(caption["model"])
        if not wanted or name in wanted:
            window[f"{name}_caption"] = caption["stage2_caption"] or caption["caption"]
        name = enhanced_label(caption["enhanced_model"] or "")
        if name and (not wanted_enhanced or name in wanted_enhanced):
            window[f"{name}_enhanced_caption"] = caption["enhanced_caption"]
    return [windows[ends] for ends in sorted(windows)]


def _add_captions(chunk: Chunk, clip: Clip, windows: list[Row], row: Row, params: Params) -> None:
    name = str(clip.name)
    chunk.windows[name], chunk.enhanced[name] = {}, {}
    for window in windows:
        key = f"{window['start_frame']}_{window['end_frame']}"
        enhanced = _first_caption(window, "_enhanced_caption", enhanced_labels(params.enhanced_caption_models))
        caption = _first_caption(window, "_caption", caption_labels(params.caption_models))
        chunk.windows[name] |= {key: caption} if caption else {}
        chunk.enhanced[name] |= {key: enhanced} if enhanced else {}
    chunk.num_with["caption"] += bool(chunk.windows[name])


def _first_caption(window: Row, suffix: str, labels: Sequence[str]) -> str | None:
    """The caption of a window by the first of the labels, or by any if there is none."""
    names = [f"{label}{suffix}" for label in labels] or sorted(window)
    matching = (
        n for n in names if n.endswith(suffix) and n.endswith("_enhanced_caption") == (suffix == "_enhanced_caption")
    )
    return next((window[name] for name in matching if window.get(name)), None)


def _write_previews(part: Part, clip: Clip, row: Row, params: Params) -> bool:
    is_written = False
    for preview in row["previews"] or [] if params.generate_previews else []:
        if path := part.readable_file(row["clip_id"], preview["uri"]):
            name = f"{nemo_paths.PREVIEWS}/{clip.name}/{preview['start_frame']}_{preview['end_frame']}.webp"
            with part.file(name, [clip], shared=False) as to:
                _copy_file(path, to)
            is_written = True
    return is_written


def _write_vectors(part: Part, chunk: Chunk, clip: Clip, row: Row, params: Params) -> bool:
    is_written = False
    for embedding in row["embeddings"] or [] if params.generate_embeddings else []:
        if not is_vector_of(embedding["model"], params.embedding_algorithm):
            continue
        folder = folder_prefix(embedding["model"])
        with (
            part.file(f"{nemo_paths.vectors(folder)}/{clip.name}.pickle", [clip], shared=False) as path,
            open(path, "wb") as file,
        ):
            pickle.dump(np.array([embedding["vector"]], np.float32), file, PICKLE_PROTOCOL)
        chunk.vectors.setdefault(folder, []).append({"id": clip.name, "embedding": embedding["vector"]})
        is_written = True
    return is_written


def _write_chunk(part: Part, chunk: Chunk, row: Row, params: Params, paths: Paths) -> None:
    video, all_clips = source_address(row["source_video"]), [*chunk.clips, *chunk.filtered]
    for folder, vectors in chunk.vectors.items():
        ids = {vector["id"] for vector in vectors}
        path = f"{nemo_paths.parquet_vectors(folder)}/{_uuid(f'{video}_{chunk.index}')}.parquet"
        with part.file(path, [clip for clip in all_clips if clip.name in ids]) as to:
            pq.write_table(pa.Table.from_pylist(vectors, EMBEDDING), to)
    facts = {
        "video": _video_name(row, params, paths),
        "clip_chunk_index": chunk.index,
        **{f"num_clips_filtered_by_{gate}": count for gate, count in chunk.filtered_by.items()},
        "num_clips_passed": len(chunk.clips),
        "num_clips_transcoded": len(all_clips),
        **{f"num_clips_with_{what}": count for what, count in chunk.num_with.items()},
        "total_clip_duration": sum(chunk.lengths_s),
        "max_clip_duration": max(chunk.lengths_s, default=0.0),
        "clips": [clip.name for clip in chunk.clips],
        "filtered_clips": [clip.name for clip in chunk.filtered],
        "all_windows": chunk.windows,
        "all_windows_enhanced_caption": chunk.enhanced,
    }
    inside = all_clips or [Clip(None, row[CLIP]["video_id"], None)]
    name = f"{nemo_paths.PROCESSED_CLIP_CHUNKS}/{_relative_path(row, params)}_{chunk.index}.json"
    _write_json(part, name, facts, inside)


def _video_name(row: Row, params: Params, paths: Paths) -> str | None:
    """The source video's name in a document."""
    if paths == "none":
        return None
    return source_address(row["source_video"]) if paths == "absolute" else _relative_path(row, params)


def _copy_file(path: AnyPath, to: str) -> None:
    with open_path(path) as file, open(to, "wb") as copy:
        shutil.copyfileobj(file, copy)


def _relative_path(row: Row, params: Params) -> str:
    """The path of the video relative to `input_path`."""
    path, folder = source_address(row["source_video"]), source_address(params.input_path).rstrip("/")
    if folder and not path.startswith(f"{folder}/"):
        raise ValueError(f"export.nemo.input_path: {path} is not below {folder}")
    relative = path[len(folder) :].lstrip("/")
    if ".." in relative.split("/"):
        raise ValueError(f"{path}: its files would be written outside the export")
    return relative


def _write_json(part: Part, path: str, facts: Row, clips: list[Clip], *, shared: bool = True) -> None:
    with part.file(path, clips, shared=shared) as to, open(to, "w", encoding="utf-8") as file:
        json.dump(facts, file, ensure_ascii=False)
