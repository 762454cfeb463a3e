"""assignments: one row per vector that dedup compares, with its cluster; each file holds few clusters."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "assignments",
    ("clip_id",),
    "One row per vector that dedup compares, with its cluster.",
    column("clip_id", pa.string(), "row of embeddings", nullable=False),
    column("cluster_id", pa.int32(), "row of centroids; NULL for a zero vector, which is similar to nothing"),
    column("version", pa.int32(), "version of the centroids", nullable=False),
    column(
        "dedup_run",
        pa.int32(),
        "number of the dedup run that first placed it, from 1; of two duplicates, the clip of the earlier run is kept",
        nullable=False,
    ),
    column("distance_to_centroid", pa.float64(), "1 - cosine to the cluster's center"),
    column(
        "probes",
        pa.list_(pa.int32()),
        "other clusters near enough to hold duplicates of it, nearest first",
        nullable=False,
    ),
    column(
        "rank",
        pa.list_(pa.float64()),
        "sort key among the clips of one dedup run: of two duplicates, the one with the lesser key is kept",
        nullable=False,
    ),
    column("vector", pa.binary(), "unit vector, little-endian float32", nullable=False),
    FINGERPRINT,
    RUN_ID,
    cluster_by="cluster_id",
    renamed={"dedup_run": "night"},
    checks={
        "cluster": within("cluster_id", 0),
        "dedup_run": within("dedup_run", 1),
        "distance": within("distance_to_centroid", 1 - COSINE, 1 + COSINE),
        "vector": "length(vector) % 4 = 0",
    },
)
