"""embeddings: one unit vector per clip and model."""

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, column, table, within

TABLE = table(
    "embeddings",
    ("clip_id", "model"),
    "One unit vector per clip and model.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column(
        "model",
        pa.string(),
        "model that made the vector; descriptor is computed from pixels, without a network",
        nullable=False,
    ),
    column("dim", pa.int32(), "length of the vector", nullable=False),
    column("num_frames", pa.int32(), "frames that the vector was made of"),
    column("vector", FLOATS, "unit length, or zeros for a clip that shows nothing", nullable=False),
    column(
        "text_scores",
        pa.map_(pa.string(), pa.float32()),
        "how well each text of embed.texts_to_verify fits; the scores sum to 1",
    ),
    column("text_match", pa.string(), "the text that fits best"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "dim": "size(vector) = dim",
        "frames": within("num_frames", 0),
    },
)
