"""aesthetics: one aesthetic score per clip and model."""

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, column, table

TABLE = table(
    "aesthetics",
    ("clip_id", "model"),
    "One aesthetic score per clip and model.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("model", pa.string(), "model that made the score", nullable=False),
    column("score_min", pa.float64(), "lowest score of a frame"),
    column("score_mean", pa.float64(), "mean score of the frames"),
    column("frame_scores", FLOATS, "scores of the frames in time order"),
    FINGERPRINT,
    RUN_ID,
)
