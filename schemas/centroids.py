"""centroids: one row per cluster center and version of the fitted k-means models."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table

TABLE = table(
    "centroids",
    ("model", "version", "cluster_id"),
    "One row per cluster center and version of the fitted k-means models.",
    column("model", pa.string(), "embedding model whose vectors were clustered", nullable=False),
    column("version", pa.int32(), "number of the dedup run that fitted it; the highest is used", nullable=False),
    column("cluster_id", pa.int32(), "0-based", nullable=False),
    column("vector", pa.list_(pa.float64()), "center, not normalized", nullable=False),
    column("engine", pa.string(), "library that fitted it: cuml or mllib"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "cluster": "cluster_id >= 0",
        "version": "version >= 1",
    },
)
