"""verdicts: kept or not, and every reason, one row a clip."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, column, other_than, table

TABLE = table(
    "verdicts",
    ("clip_id",),
    "Kept or not, and every reason, one row a clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("kept", pa.bool_(), "no reason speaks against it", nullable=False),
    column("reasons", STRINGS, "codes of the gates it failed, empty if kept", nullable=False),
    column(
        "duplicate_of", pa.string(), "the clip that stands for it at filter.duplicate_eps; NULL if it is no duplicate"
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "kept_without_reasons": "kept = (size(reasons) = 0)",
        "of_another": other_than("duplicate_of", "clip_id"),
    },
)
