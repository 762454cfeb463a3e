"""Clips as a data set that FiftyOne opens: its FiftyOneDataset in JSON, whose media stay where they are."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.config.errors import UsageError
from udfs.storage.uris import is_remote

NO_FRAMES = "frames/none.json"  # labels of single frames, of which no clip has any
METADATA = {
    "size_bytes": "num_bytes",
    "frame_width": "width",
    "frame_height": "height",
    "frame_rate": "framerate",
    "total_frame_count": "num_frames",
    "duration": "duration_s",
    "encoding_str": "video_codec",
}
# Columns that are in other fields, or that FiftyOne has a field of the same name for.
ELSEWHERE = {*METADATA.values(), "uri", "kept", "reasons", "fingerprint", "run_id", "tags", "metadata"}
Row = Mapping[str, Any]


def write(clips: Iterable[Row], folder: str) -> int:
    """Write a data set of clips into a folder, with the fields of `verdicts`; returns their number.

    Raises:
        UsageError: a clip lies in a store, where FiftyOne does not open it, or the folder cannot be written.
    """
    samples = [_sample(row) for row in clips]
    try:
        Path(folder, "frames").mkdir(parents=True, exist_ok=True)
        for name, content in {
            "metadata.json": {"media_type": "video", "info": {"made_by": "reelmill"}},
            "samples.json": {"samples": samples},
            NO_FRAMES: {"frames": {}},
        }.items():
            Path(folder, name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{folder}: {e.strerror}") from e
    return len(samples)


def _sample(row: Row) -> dict[str, Any]:
    if is_remote(row["uri"]):
        raise UsageError(f"{row['uri']}: FiftyOne opens local files: copy the clips, and the output's tables, first")
    verdict = "no verdict" if row["kept"] is None else "kept" if row["kept"] else "dropped"
    reasons = [_label(reason) for reason in row["reasons"] or []]
    metadata = {name: _plain(row[column]) for name, column in METADATA.items()}
    fields = {name: _plain(value) for name, value in row.items() if name not in ELSEWHERE}
    return {
        "filepath": os.path.abspath(row["uri"]),
        "tags": [verdict, *(row["reasons"] or [])],
        "metadata": {"_cls": "VideoMetadata", "mime_type": "video/mp4", **metadata},
        "frames": NO_FRAMES,
        "verdict": _label(verdict),
        "dropped_by": {"_cls": "Classifications", "classifications": reasons} if reasons else None,
        **{name: value for name, value in fields.items() if value is not None},
    }


def _label(name: str) -> dict[str, str]:
    return {"_cls": "Classification", "label": name}


def _plain(value: Any) -> Any:
    """A value of a field; JSON has no NaN, and no infinite numbers."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
