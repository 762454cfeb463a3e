"""takedowns: what was taken down and is not ingested again."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, column, table

TABLE = table(
    "takedowns",
    ("uri", "video_id"),
    "One row per address and content that was taken down and is not ingested again.",
    column("uri", pa.string(), "address that is not ingested again, whatever it holds now", nullable=False),
    column(
        "video_id",
        pa.string(),
        "video_id of the row of videos that was removed; empty for an address without one",
        nullable=False,
    ),
    column("content_tag", pa.string(), "as in videos: the same bytes are refused at any address; NULL if unknown"),
    column("clip_ids", STRINGS, "clip_id of its clips, by which exports are searched again; NULL in older rows"),
    column("reason", pa.string(), "reason that the user gave; NULL without one"),
    column("taken_at", pa.timestamp("us", tz="UTC"), "when it was taken down", nullable=False),
    FINGERPRINT,
    RUN_ID,
)
