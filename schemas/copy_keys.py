"""copy_keys: one row per key of a kept clip, by which `copies` finds the clips to compare with a new one."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "copy_keys",
    ("key", "clip_id"),
    "One row per key of a kept clip, by which `copies` finds the clips to compare with a new one.",
    column(
        "part", pa.int32(), "partition: each level of the table has 4 times the parts of the one before", nullable=False
    ),
    column("key", pa.int64(), "hash of the bits that a copy has in common with the clip", nullable=False),
    column("clip_id", pa.string(), "row of copies", nullable=False),
    column("hashes", pa.list_(pa.int64()), "`signals.phash` as numbers; NULL for a frame of one shade", nullable=False),
    FINGERPRINT,
    RUN_ID,
    partition_by="part",
)
