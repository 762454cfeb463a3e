"""assignments: the vectors that dedup compares, each in its cluster; a file holds few clusters."""

import pyarrow as pa

from schemas.table import COSINE, FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "assignments",
    ("clip_id",),
    "The vectors that dedup compares, each in its cluster.",
    column("clip_id", pa.string(), "row of embeddings", nullable=False),
    column("cluster_id", pa.int32(), "row of centroids; NULL for a zero vector, which is like nothing"),
    column("version", pa.int32(), "version of the centroids", nullable=False),
    column(
        "dedup_run",
        pa.int32(),
        "run of dedup that took it up first, from 1; earlier ones are kept first",
        nullable=False,
    ),
    column("distance_to_centroid", pa.float64(), "1 - cosine to the cluster's centre"),
    column("probes", pa.list_(pa.int32()), "further clusters in whose reach it lies, nearest first", nullable=False),
    column("rank", pa.list_(pa.float64()), "order in which the clips of a dedup run are kept: least first", nullable=False),
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
