"""copies: one row per clip: the kept clip that it is a near-copy of, by their hashes."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, other_than, table, within

TABLE = table(
    "copies",
    ("clip_id",),
    "One row per clip: the kept clip that it is a near-copy of, by their hashes.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("copy_of", pa.string(), "the kept clip that this one is a near-copy of; NULL if this one is kept"),
    column("num_agree", pa.int32(), "frames whose hashes agree with those of copy_of; NULL if the clip is kept"),
    column(
        "distance", pa.float64(), "mean Hamming distance of the agreeing frames, bits of 64; NULL if the clip is kept"
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "of_another": other_than("copy_of", "clip_id"),
        "distance": within("distance", 0, 64),
    },
)
