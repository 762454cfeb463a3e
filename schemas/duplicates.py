"""duplicates: where each clip stands among its like, one row a clip."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, other_than, table, within

TABLE = table(
    "duplicates",
    ("clip_id",),
    "Where each clip stands among its like, one row a clip.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("method", pa.string(), "semantic: by vectors; phash: dropped by its hashes before it got any"),
    column("duplicate_of", pa.string(), "the elder that it is linked to; a duplicate of it where similarity >= 1 - eps"),
    column("similarity", pa.float64(), "to duplicate_of: cosine, for phash the share of equal bits; NULL without an elder"),
    column("cluster_id", pa.int32(), "row of centroids; NULL for phash, and for a zero vector, which is like nothing"),
    column("distance_to_centroid", pa.float64(), "1 - cosine to the cluster's centre"),
    column("version", pa.int32(), "version of the centroids", nullable=False),
    column("dedup_run", pa.int32(), "run of dedup that took it up first, from 1", nullable=False),
    FINGERPRINT,
    RUN_ID,
    renamed={"dedup_run": "night"},
    checks={
        "of_another": other_than("duplicate_of", "clip_id"),
        "similarity": within("similarity", -COSINE, COSINE),
        "distance": within("distance_to_centroid", 1 - COSINE, 1 + COSINE),
        "dedup_run": within("dedup_run", 1),
    },
)
