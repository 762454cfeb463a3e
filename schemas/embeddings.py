"""embeddings: one unit vector a clip and model."""

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, column, table, within

TABLE = table(
    "embeddings",
    ("clip_id", "model"),
    "One unit vector a clip and model.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("model", pa.string(), "what made the vector; descriptor is classical, not semantic", nullable=False),
    column("dim", pa.int32(), "length of the vector", nullable=False),
    column("num_frames", pa.int32(), "frames that went in"),
    column("vector", FLOATS, "unit length, or zeros for a clip that shows nothing", nullable=False),
    column(
        "text_scores",
        pa.map_(pa.string(), pa.float32()),
        "how much each of embed.texts_to_verify says, in all 1",
    ),
    column("text_match", pa.string(), "the text that says most"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "dim": "size(vector) = dim",
        "frames": within("num_frames", 0),
    },
)
