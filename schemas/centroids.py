"""centroids: the fitted k-means models, one row a cluster and version."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "centroids",
    ("model", "version", "cluster_id"),
    "The fitted k-means models, one row a cluster and version.",
    column("model", pa.string(), "embedding model the cluster lies in", nullable=False),
    column("version", pa.int32(), "run of dedup that fitted it; the highest counts", nullable=False),
    column("cluster_id", pa.int32(), "0-based", nullable=False),
    column("vector", pa.list_(pa.float64()), "centre, not normalised", nullable=False),
    column("engine", pa.string(), "what fitted it: cuml or mllib"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "cluster": "cluster_id >= 0",
        "version": "version >= 1",
    },
)
