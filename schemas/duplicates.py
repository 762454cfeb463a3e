"""duplicates: one row per clip: the earlier clip that it is most similar to."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, other_than, table, within

TABLE = table(
    "duplicates",
    ("clip_id",),
    "One row per clip: the earlier clip that it is most similar to.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("method", pa.string(), "semantic: found by vectors; phash: a near-copy by its hashes, which got no vector"),
    column(
        "duplicate_of",
        pa.string(),
        "the clip before it in the order of keeping that it is linked to; "
        "a duplicate of that clip where similarity >= 1 - eps",
    ),
    column(
        "similarity",
        pa.float64(),
        "similarity to duplicate_of: cosine, or for phash the share of equal bits; NULL without such a clip",
    ),
    column(
        "cluster_id", pa.int32(), "row of centroids; NULL for phash, and for a zero vector, which is similar to nothing"
    ),
    column("distance_to_centroid", pa.float64(), "1 - cosine to the cluster's center"),
    column("version", pa.int32(), "version of the centroids", nullable=False),
    column("dedup_run", pa.int32(), "number of the dedup run that first placed it, from 1", nullable=False),
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
