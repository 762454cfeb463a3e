"""aesthetics: one aesthetic score a clip and model."""

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, column, table

TABLE = table(
    "aesthetics",
    ("clip_id", "model"),
    "One aesthetic score a clip and model.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("model", pa.string(), "what made the score", nullable=False),
    column("score_min", pa.float64(), "lowest of the frames'"),
    column("score_mean", pa.float64(), "mean of the frames'"),
    column("frame_scores", FLOATS, "in time order"),
    FINGERPRINT,
    RUN_ID,
)
