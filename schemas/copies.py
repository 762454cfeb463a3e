"""copies: which clips are near-copies of another by their hashes, one row a clip."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, other_than, table, within

TABLE = table(
    "copies",
    ("clip_id",),
    "Which clips are near-copies of another by their hashes, one row a clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("copy_of", pa.string(), "the kept clip that stands for this one; NULL if this one stands for itself"),
    column("num_agree", pa.int32(), "frames whose hashes agree with those of copy_of; NULL if there is none"),
    column("distance", pa.float64(), "mean Hamming distance of the agreeing frames, bits of 64; NULL if there is none"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "of_another": other_than("copy_of", "clip_id"),
        "distance": within("distance", 0, 64),
    },
)
