"""failures: one row per input that a stage could not use, and run."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "failures",
    ("key", "stage", "run_id"),
    "One row per input that a stage could not use, and run.",
    column("key", pa.string(), "uri, video_id or clip_id of the input", nullable=False),
    column("stage", pa.string(), "stage that could not use it", nullable=False),
    column("code", pa.string(), "EMPTY, CORRUPT, TIMEOUT ...: docs/operations.md lists them", nullable=False),
    column("message", pa.string(), "what was wrong with it"),
    column("attempts", pa.int32(), "how often it was tried with these settings"),
    column("failed_at", pa.timestamp("us", tz="UTC"), "when it failed"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "attempts": within("attempts", 1),
    },
)
