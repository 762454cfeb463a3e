"""labels: one row per label that a person gave a clip."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "labels",
    ("clip_id", "label", "who"),
    "One row per label that a person gave a clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("label", pa.string(), "what the person called it, such as good or watermark", nullable=False),
    column("who", pa.string(), "the person, by the name that they gave", nullable=False),
    column("labeled_at", pa.timestamp("us", tz="UTC"), "when it was given"),
    FINGERPRINT,
    RUN_ID,
)
