"""Source videos with the names of NeMo Curator's data model, as views over the rows of an output."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from operator import itemgetter

from jobs.api.clips import Clip, ClipStats, Row, errors_by_stage
from jobs.api.output import Output

SECONDS_PER_WEIGHT = 300  # of video: the weight 1
# One row per clip, and one of a video without clips.
ROWS = """
SELECT videos.video_id, videos.uri AS video_uri, videos.size, videos.height, videos.width, videos.framerate,
       videos.num_frames, videos.duration_s, videos.video_codec, videos.pixel_format, videos.audio_codec,
       videos.bit_rate_k, coalesce(totals.num_total_clips, 0) AS num_total_clips, failed_videos.errors AS video_errors,
       nemo.clip_id, nemo.source_video, nemo.span, nemo.start_frame, nemo.end_frame, nemo.method, nemo.video,
       nemo.encoded, nemo.motion_score, nemo.aesthetic_score, nemo.previews, nemo.captions, nemo.kept, nemo.reasons,
       files.uri, files.encoder, vectors.models, vectors.texts, failed_clips.errors
FROM (SELECT * FROM current_videos WHERE ({where}
)) AS videos
LEFT JOIN (SELECT video_id, count(*) AS num_total_clips FROM current_spans GROUP BY video_id) AS totals
  ON totals.video_id = videos.video_id
LEFT JOIN current_clips AS files ON files.video_id = videos.video_id
LEFT JOIN nemo ON nemo.clip_id = files.clip_id
LEFT JOIN (SELECT clip_id, collect_list(model) AS models,
                  collect_list(struct(model, text_match, text_scores)) AS texts
           FROM current_embeddings GROUP BY clip_id) AS vectors ON vectors.clip_id = files.clip_id
LEFT JOIN (SELECT key, collect_list(struct(stage, code, message)) AS errors FROM failed GROUP BY key) AS failed_videos
  ON failed_videos.key = videos.video_id
LEFT JOIN (SELECT key, collect_list(struct(stage, code, message)) AS errors FROM failed GROUP BY key) AS failed_clips
  ON failed_clips.key = files.clip_id
ORDER BY videos.uri, videos.video_id, nemo.start_frame
"""


def read(output: Output, where: str) -> Iterator[Video]:
    """The videos of an output with their clips, ordered by address, as their rows are read.

    DuckDB sorts the rows, in files where they exceed its memory; Python holds one video at a time.
    """
    for _, rows in groupby(output.rows(ROWS.format(where=where)), key=itemgetter("video_id")):
        yield Video([*rows], output)


@dataclass(frozen=True)
class VideoMetadata:
    """Size, rate, length and codecs of a source video; a value that the file does not state is None."""

    size: int | None = None
    height: int | None = None
    width: int | None = None
    framerate: float | None = None
    num_frames: int | None = None
    duration: float | None = None
    video_codec: str | None = None
    pixel_format: str | None = None
    audio_codec: str | None = None
    bit_rate_k: int | None = None


class Video:
    """A source video with its clips."""

    def __init__(self, rows: list[Row], output: Output) -> None:
        first = rows[0]
        self._output = output
        self.input_path: str = first["video_uri"]
        self.num_total_clips: int = first["num_total_clips"]
        self.errors = errors_by_stage(first["video_errors"])
        names = {field.name: field.name for field in fields(VideoMetadata)} | {"duration": "duration_s"}
        self.metadata = VideoMetadata(**{name: first[column] for name, column in names.items()})
        every = [Clip(row, output) for row in rows if row["clip_id"] is not None]
        self.clips = [clip for clip in every if clip.kept]
        self.filtered_clips = [clip for clip in every if not clip.kept]

    def __repr__(self) -> str:
        return f"Video({self.input_path!r}, {len(self.clips)} clips, {len(self.filtered_clips)} filtered)"

    @property
    def input_video(self) -> pathlib.Path:
        """Its address as a path, which is only of use for a local file; `input_path` has it as text."""
        return pathlib.Path(self.input_path)

    @cached_property
    def source_bytes(self) -> bytes:
        """The bytes of the file, read when they are asked for."""
        return self._output.read(self.input_path)

    @property
    def frame_array(self) -> None:
        """None: frames are decoded, used and dropped batch by batch."""

    @property
    def num_clip_chunks(self) -> int:
        """One: a video's clips are not dealt to several tasks here."""
        return 1

    @property
    def clip_chunk_index(self) -> int:
        """Zero: the one chunk is the first."""
        return 0

    @property
    def clip_stats(self) -> ClipStats:
        """Counts of its clips."""
        stats = ClipStats()
        for clip in (*self.clips, *self.filtered_clips):
            stats.combine(clip.stats)
        return stats

    @property
    def fraction(self) -> float:
        """Share of its spans that became clips."""
        return (len(self.clips) + len(self.filtered_clips)) / self.num_total_clips if self.num_total_clips else 0.0

    @property
    def weight(self) -> float:
        """Its length in units of five minutes, times `fraction`."""
        return (self.metadata.duration or 0.0) / SECONDS_PER_WEIGHT * self.fraction

    def populate_metadata(self) -> None:
        """Nothing: `metadata` is there from the row, measured when the video was ingested."""

    def has_metadata(self) -> bool:
        """Whether size, length, rate, number of frames and codec are known."""
        known = self.metadata
        return all((known.height, known.width, known.duration, known.framerate, known.num_frames, known.video_codec))

    def is_10_bit_color(self) -> bool | None:
        """Whether its pixel format has 10 bits per color component; None if the format is unknown."""
        name = self.metadata.pixel_format
        return None if name is None else "10le" in name or "10be" in name

    def get_major_size(self) -> int:
        """Bytes of its file and of its clips' files, as far as they have been read."""
        clips = sum(clip.get_major_size() for clip in (*self.clips, *self.filtered_clips))
        return len(self.__dict__.get("source_bytes") or b"") + clips
