"""centroids: the fitted k-means model, one row a cluster."""

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, column, table

TABLE = table(
    "centroids",
    ("model", "cluster_id"),
    "The fitted k-means model, one row a cluster.",
    column("model", pa.string(), "embedding model the cluster lies in", nullable=False),
    column("cluster_id", pa.int32(), "0-based", nullable=False),
    column("vector", FLOATS, "centre, not normalised", nullable=False),
    column("num_clips", pa.int64(), "clips nearest to it"),
    column("engine", pa.string(), "what fitted it"),
    column("inputs", pa.string(), "hash of the embeddings it was fitted on"),
    FINGERPRINT,
    RUN_ID,
)
