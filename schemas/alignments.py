"""alignments: how well each caption fits its clip, by a model of both pictures and texts."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "alignments",
    ("clip_id", "start_frame", "model"),
    "One row per caption: how well it fits its clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("start_frame", pa.int64(), "first frame of the caption's window", nullable=False),
    column("model", pa.string(), "model that made the vectors of the clip and of the caption", nullable=False),
    column(
        "alignment",
        pa.float32(),
        "cosine of the clip's vector and the caption's; the refined caption is taken if there is one",
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "window": "start_frame >= 0",
        "alignment": within("alignment", -COSINE, COSINE),
    },
)
