"""takedowns: what was taken out of all tables and does not come back."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "takedowns",
    ("uri", "video_id"),
    "What was taken down, and is not ingested again, one row an address and content.",
    column("uri", pa.string(), "address that is not ingested again, whatever lies there", nullable=False),
    column(
        "video_id",
        pa.string(),
        "of the row of videos that was removed; empty for an address that had none",
        nullable=False,
    ),
    column("content_tag", pa.string(), "as in videos: the same bytes are refused anywhere; NULL if unknown"),
    column("reason", pa.string(), "as given; NULL if none was"),
    column("taken_at", pa.timestamp("us", tz="UTC"), "when", nullable=False),
    FINGERPRINT,
    RUN_ID,
)
