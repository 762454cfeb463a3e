"""verdicts: one row per clip: kept or not, and every reason."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, column, other_than, table

TABLE = table(
    "verdicts",
    ("clip_id",),
    "One row per clip: kept or not, and every reason.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("kept", pa.bool_(), "whether it passed every gate", nullable=False),
    column("reasons", STRINGS, "codes of the gates it failed, empty if kept", nullable=False),
    column(
        "duplicate_of",
        pa.string(),
        "the kept clip that it is a duplicate of at filter.duplicate_eps; NULL if it is no duplicate",
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "kept_without_reasons": "kept = (size(reasons) = 0)",
        "of_another": other_than("duplicate_of", "clip_id"),
    },
)
