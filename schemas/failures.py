"""failures: one row an input that a stage could not use."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "failures",
    ("key", "stage", "run_id"),
    "One row an input that a stage could not use.",
    column("key", pa.string(), "uri, video_id or clip_id: the key of what went in", nullable=False),
    column("stage", pa.string(), "stage that met it", nullable=False),
    column("code", pa.string(), "EMPTY, CORRUPT, TIMEOUT ...: README.md lists them", nullable=False),
    column("message", pa.string(), "what was seen"),
    column("attempts", pa.int32(), "times it has been tried with these settings"),
    column("failed_at", pa.timestamp("us", tz="UTC"), "when"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "attempts": within("attempts", 1),
    },
)
