"""Clips and their windows with the names of NeMo Curator's data model, as views over the rows of an output.

A value that an output does not hold is None, or an empty dictionary; its docstring says why.
Media files are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from jobs.api.output import Output
from jobs.lake.catalog import literal
from udfs.exports import nemo, nemo_paths

Row = Mapping[str, Any]
VECTORS = "SELECT model, vector FROM current_embeddings WHERE clip_id = {clip}"


@dataclass
class ClipStats:
    """Counts and seconds of clips, as the view `clip_stats` has them per video."""

    num_filtered_by_motion: int = 0
    num_filtered_by_aesthetic: int = 0
    num_passed: int = 0
    num_transcoded: int = 0
    num_with_embeddings: int = 0
    num_with_caption: int = 0
    num_with_webp: int = 0
    total_clip_duration: float = 0.0
    max_clip_duration: float = 0.0

    def combine(self, other: ClipStats) -> None:
        """Add the counts and seconds of other clips."""
        longest = max(self.max_clip_duration, other.max_clip_duration)
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        self.max_clip_duration = longest


class Window:
    """A stretch of a clip, in frames: the preview and captions that it got."""

    def __init__(
        self, ends: tuple[int, int], preview: str | None, captions: list[Row], read: Callable[[str], bytes]
    ) -> None:
        self.start_frame, self.end_frame = ends
        self.caption: dict[str, str] = {}
        self.enhanced_caption: dict[str, str] = {}
        self._preview, self._read = preview, read
        for row in captions:
            self.caption[nemo.model_label(row["model"])] = row["stage2_caption"] or row["caption"]
            if row["enhanced_caption"]:
                name = nemo.model_label(row["enhanced_model"]).replace("-", "_")
                self.enhanced_caption[name] = row["enhanced_caption"]

    def __repr__(self) -> str:
        return f"Window({self.start_frame}, {self.end_frame})"

    @property
    def mp4_bytes(self) -> None:
        """None: windows are read from the clip or its proxy, and not cut to files."""

    @property
    def qwen_llm_input(self) -> None:
        """None: what a captioning model reads lives as long as its batch."""

    @property
    def x1_input(self) -> None:
        """None: no stage makes it."""

    @cached_property
    def webp_bytes(self) -> bytes | None:
        """The animated preview, read when it is asked for; None without one."""
        return self._read(self._preview) if self._preview else None

    def get_major_size(self) -> int:
        """Bytes of its preview, as far as it has been read."""
        return len(self.__dict__.get("webp_bytes") or b"")


class Clip:
    """One clip: where it is from, its file, scores, windows and errors."""

    def __init__(self, row: Row, output: Output) -> None:
        self._row, self._output = row, output
        self.source_video: str = row["source_video"]
        self.span: tuple[float, float] = (row["span"][0], row["span"][1])
        self.motion_score_global_mean: float | None = row["motion_score"]["global_mean"]
        self.motion_score_per_patch_min_256: float | None = row["motion_score"]["per_patch_min_256"]
        self.aesthetic_score: float | None = row["aesthetic_score"]
        self.errors = errors_by_stage(row["errors"])

    def __repr__(self) -> str:
        return f"Clip({self._row['clip_id']}, {self.source_video!r}, span={self.span})"

    @property
    def uuid(self) -> UUID:
        """Its `clip_id`."""
        return UUID(self._row["clip_id"])

    @property
    def span_uuid(self) -> UUID:
        """The clip's name in an export in NeMo Curator's layout, where path, rate and span make it."""
        return UUID(nemo.span_uuid(dict(self._row)))

    @property
    def kept(self) -> bool:
        """Whether it passed every gate; true before `filter` has run."""
        return bool(self._row["kept"])

    @property
    def reasons(self) -> list[str]:
        """Codes of the gates that it failed."""
        return [*(self._row["reasons"] or [])]

    @cached_property
    def buffer(self) -> bytes:
        """The bytes of its mp4 file, read when they are asked for."""
        return self._output.read(self._row["uri"])

    @cached_property
    def windows(self) -> list[Window]:
        """Its windows with a preview or a caption, in time order."""
        previews = {(row["start_frame"], row["end_frame"]): row["uri"] for row in self._row["previews"] or []}
        captions: dict[tuple[int, int], list[Row]] = {ends: [] for ends in previews}
        for row in self._row["captions"] or []:
            captions.setdefault((row["start_frame"], row["end_frame"]), []).append(row)
        return [Window(ends, previews.get(ends), captions[ends], self._output.read) for ends in sorted(captions)]

    @property
    def extracted_frames(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Empty: each model decodes the frames that it reads; `export --format frames` writes pictures."""
        return {}

    @property
    def decoded_motion_data(self) -> None:
        """None: motion vectors are reduced to the two scores while the clip is decoded."""

    @property
    def cosmos_embed1_frames(self) -> None:
        """None: the frames that a model reads live as long as its batch."""

    @property
    def intern_video_2_frames(self) -> None:
        """None: the frames that a model reads live as long as its batch."""

    @property
    def egomotion(self) -> dict[str, bytes]:
        """Empty: no stage makes it."""
        return {}

    @property
    def cosmos_embed1_embedding(self) -> npt.NDArray[np.float32] | None:
        """Its vector by a Cosmos-Embed1 model, of shape (1, length), looked up when it is asked for.

        For the vectors of many clips read the table `current_embeddings`.
        """
        return self._embedding(nemo_paths.COSMOS_EMBED1)

    @property
    def intern_video_2_embedding(self) -> npt.NDArray[np.float32] | None:
        """Its vector by InternVideo2, as `cosmos_embed1_embedding`."""
        return self._embedding(nemo_paths.INTERN_VIDEO2)

    @property
    def cosmos_embed1_text_match(self) -> tuple[str, float] | None:
        """The text of `embed.texts_to_verify` that fits best, and its score; None without such texts."""
        return self._text_match(nemo_paths.COSMOS_EMBED1)

    @property
    def intern_video_2_text_match(self) -> tuple[str, float] | None:
        """As `cosmos_embed1_text_match`, by InternVideo2."""
        return self._text_match(nemo_paths.INTERN_VIDEO2)

    @property
    def duration(self) -> float:
        """Seconds of its span."""
        return self.span[1] - self.span[0]

    def extract_metadata(self) -> dict[str, Any]:
        """Width, height, framerate, num_frames, video_codec and num_bytes of its file, from its row."""
        return {name: self._row["encoded"][name] for name in nemo.ENCODED_FIELDS}

    def get_major_size(self) -> int:
        """Bytes of its file and previews, as far as they have been read."""
        windows: list[Window] = self.__dict__.get("windows") or []
        return len(self.__dict__.get("buffer") or b"") + sum(window.get_major_size() for window in windows)

    @property
    def stats(self) -> ClipStats:
        """What it adds to the counts of its video."""
        return ClipStats(
            num_filtered_by_motion=int(any(reason.startswith("motion") for reason in self.reasons)),
            num_filtered_by_aesthetic=int(any(reason.startswith("aesthetic") for reason in self.reasons)),
            num_passed=int(self.kept),
            num_transcoded=int(self._row["encoder"] not in (None, "copy")),
            num_with_embeddings=int(bool(self._row["models"])),
            num_with_caption=int(bool(self._row["captions"])),
            num_with_webp=int(bool(self._row["previews"])),
            total_clip_duration=self.duration,
            max_clip_duration=self.duration,
        )

    def _embedding(self, prefix: str) -> npt.NDArray[np.float32] | None:
        if not any(nemo.folder_prefix(model) == prefix for model in self._row["models"] or []):
            return None
        rows = self._output.rows(VECTORS.format(clip=literal(self._row["clip_id"])))
        vectors = (row["vector"] for row in rows if nemo.folder_prefix(row["model"]) == prefix)
        return np.array([next(vectors)], np.float32)

    def _text_match(self, prefix: str) -> tuple[str, float] | None:
        found = (row for row in self._row["texts"] or [] if nemo.folder_prefix(row["model"]) == prefix)
        return next(
            ((row["text_match"], row["text_scores"][row["text_match"]]) for row in found if row["text_match"]), None
        )


def errors_by_stage(rows: list[Row] | None) -> dict[str, str]:
    """Code and message of each failure, by stage."""
    return {row["stage"]: f"{row['code']}: {row['message']}" for row in rows or []}
