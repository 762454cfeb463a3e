"""alignments: how much a caption says of its clip, by a model that knows both pictures and texts."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "alignments",
    ("clip_id", "start_frame", "model"),
    "How much each caption says of its clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("start_frame", pa.int64(), "first frame of the caption's window", nullable=False),
    column("model", pa.string(), "what made the clip's vector and the text's", nullable=False),
    column(
        "alignment", pa.float32(), "cosine of the vector of the caption, refined if it was, and that of the whole clip"
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "window": "start_frame >= 0",
        "alignment": within("alignment", -COSINE, COSINE),
    },
)
