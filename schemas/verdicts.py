"""verdicts: one row per clip: kept or not, every reason, every score, and where the clip is from."""

import pyarrow as pa

from schemas import aesthetics, clips, duplicates, signals, spans
from schemas.table import FINGERPRINT, RUN_ID, STRINGS, Table, column, other_than, table


def _of(source: Table, *names: str) -> list[pa.Field]:
    """Columns of another table, which a row may lack."""
    return [source.schema.field(name).with_nullable(True) for name in names]


FROM_SPANS = ("start_s", "end_s", "start_frame", "end_frame", "method")
FROM_CLIPS = (
    *("uri", "num_bytes", "width", "height", "framerate", "num_frames", "duration_s"),
    *("video_codec", "audio_codec", "encoder"),
)
FROM_SIGNALS = (
    *("motion_score_global_mean", "motion_score_per_patch_min_256", "motion_source"),
    *("blackness", "freeze", "blur", "letterbox"),
)

TABLE = table(
    "verdicts",
    ("clip_id",),
    "One row per clip: kept or not, every reason, every score, and where the clip is from.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("kept", pa.bool_(), "whether it passed every gate", nullable=False),
    column("reasons", STRINGS, "codes of the gates it failed, empty if kept", nullable=False),
    column(
        "duplicate_of",
        pa.string(),
        "the kept clip that it is a duplicate of at filter.duplicate_eps; NULL if it is no duplicate",
    ),
    column("video_uri", pa.string(), "where the source video lies"),
    *_of(spans.TABLE, *FROM_SPANS),
    *_of(clips.TABLE, *FROM_CLIPS),
    column("cut_run_id", pa.string(), "run that cut the clip: see `runs`"),
    column("measured", pa.bool_(), "whether the clip has a row of signals"),
    *_of(signals.TABLE, *FROM_SIGNALS),
    column("num_previews", pa.int32(), "animated WebP files of the clip"),
    *(aesthetics.TABLE.schema.field(name).with_name(f"aesthetic_{name}") for name in ("score_min", "score_mean")),
    column("embedding_model", pa.string(), "model that made the clip's vector; NULL without one"),
    column("link_method", pa.string(), "semantic or phash: how dedup compared it with others; NULL if it did not"),
    *_of(duplicates.TABLE, "similarity", "cluster_id"),
    column("num_captions", pa.int32(), "windows of the clip that have a caption"),
    column("caption", pa.string(), "caption of the first window that has one"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "kept_without_reasons": "kept = (size(reasons) = 0)",
        "of_another": other_than("duplicate_of", "clip_id"),
    },
)
